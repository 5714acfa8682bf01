"""Every kernel compiles to machine code for the device it is meant for, and fits it; none is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNELS = {
    "llamba_kernel", "replay_kernel", "mamba1_kernel", "mamba2_kernel", "rotation_kernel", "own_kernel",
    "prompt_kernel", "merge_kernel", "add_norm_kernel", "gated_product_kernel", "tile_kernel", "choice_kernel",
}  # fmt: skip
CAPABILITY = "90"  # Hopper; the script takes any, and docs/gpu.md says for which it was run
SHARED_BYTES = 99 << 10  # that a program may take on every device from 8.0 on
REGISTERS = 1 << 16  # of a multiprocessor


@pytest.mark.slow
def test_every_kernel_compiles_for_a_device_without_spilling_registers(tmp_path):
    pytest.importorskip("triton", reason="Triton is not installed (extra `gpu`, Linux only)")
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = Path(__file__).with_name("compile_kernels.py")
    run = subprocess.run(
        [sys.executable, script, CAPABILITY], capture_output=True, text=True, env=environment, timeout=600
    )
    assert run.returncode == 0, run.stderr
    compiled = [json.loads(line) for line in run.stdout.splitlines()]
    for dtype in ("torch.bfloat16", "torch.float32"):
        assert {facts["kernel"] for facts in compiled if facts["dtype"] == dtype} >= KERNELS - {
            "tile_kernel", "choice_kernel",  # logits are float32 anyway
        }  # fmt: skip
    assert {facts["kernel"] for facts in compiled} == KERNELS
    spills = [facts for facts in compiled if facts["STACK"] or facts["LOCAL"]]
    # Products of float32 without tensor cores: 64 queries of 128 channels are more than the registers hold.
    assert {(facts["kernel"], facts["dtype"]) for facts in spills} <= {("prompt_kernel", "torch.float32")}
    assert [facts for facts in spills if facts["STACK"] > 512 or facts["LOCAL"]] == []
    assert [facts for facts in compiled if facts["shared_bytes"] > SHARED_BYTES] == []
    assert [facts for facts in compiled if facts["REG"] * facts["threads"] > REGISTERS] == []
