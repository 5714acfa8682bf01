"""Floors without a machine: data sheets, given rates, what does not fit, and the command that prints them."""

import json

import pytest

from timetrial.catalog import open_catalog
from timetrial.cli.main import run_command_line
from timetrial.config import TimingGrid
from timetrial.error import UnknownNameError, UsageError
from timetrial.machines import PUBLISHED_MACHINES, published_machine
from timetrial.rates import MachineRates
from timetrial.roofline import architectures, roofline_cells
from timetrial.spec import Architecture

PAPER = ("llama-3.2-1b", "llamba-1b", "mamba-in-llama-1b", "llama-3.2-3b", "llamba-4b", "mamba-in-llama-3b")
GRID = TimingGrid(batches=(512, 1, 32, 128, 256), prompt_tokens=(512,), new_tokens=512)


@pytest.fixture(scope="module")
def paper():
    return architectures(PAPER, "bfloat16", open_catalog())


# Milliseconds of a step at the published rates and a mean context of 768, worked out by hand from sizes and formulas.
@pytest.mark.parametrize(("machine", "model", "expected_ms"), [
    ("h100", "llama-3.2-1b", (0.75, 0.98, 1.70, 2.66, 5.13)),
    ("h100", "llamba-1b", (0.84, 1.01, 1.54, 2.24, 4.26)),
    ("h100", "mamba-in-llama-1b", (0.77, 0.87, 1.15, 1.52, 2.84)),
    ("h100", "llama-3.2-3b", (1.94, 2.76, 5.28, 8.65, 16.79)),
    ("h100", "llamba-4b", (2.32, 3.17, 5.81, 9.33, 18.06)),
    ("h100", "mamba-in-llama-3b", (2.07, 2.33, 3.15, 4.24, 7.94)),
    ("h200", "llama-3.2-1b", (0.52, 0.68, 1.19, 1.98, 3.96)),
    ("h200", "llamba-1b", (0.59, 0.71, 1.07, 1.71, 3.41)),
    ("h200", "mamba-in-llama-1b", (0.54, 0.60, 0.80, 1.19, 2.39)),
    ("h200", "llama-3.2-3b", (1.36, 1.93, 3.69, 6.36, 12.72)),
    ("h200", "llamba-4b", (1.62, 2.21, 4.06, 6.90, 13.80)),
    ("h200", "mamba-in-llama-3b", (1.44, 1.63, 2.20, 3.31, 6.62)),
])  # fmt: skip
def test_the_papers_models_have_the_floors_of_their_sizes_on_published_machines(paper, machine, model, expected_ms):
    rates = published_machine(machine).rates("bfloat16")
    cells = roofline_cells({model: paper[model]}, GRID, rates, None)
    assert [cell.batch for cell in cells] == [1, 32, 128, 256, 512]
    assert [1000 * cell.step_s for cell in cells] == pytest.approx(expected_ms, rel=2e-3, abs=0.006)


def test_the_paper_could_have_been_this_much_faster_at_most_on_its_machine(paper):
    cells = roofline_cells(paper, GRID, published_machine("h100").rates("bfloat16"), None)
    floors = {(cell.model, cell.batch): cell.floor_s for cell in cells}
    bounds = [floors["llama-3.2-3b", batch] / floors["mamba-in-llama-3b", batch] for batch in (1, 32, 128, 256, 512)]
    assert bounds == pytest.approx([0.94, 1.18, 1.68, 2.04, 2.11], abs=0.01)
    assert floors["llama-3.2-3b", 512] / floors["llamba-4b", 512] == pytest.approx(0.93, abs=0.005)


def test_what_has_to_fit_is_weights_and_every_sequence_at_its_full_length(paper):
    cells = roofline_cells(paper, GRID, published_machine("h100").rates("bfloat16"), 66e9)
    at = {(cell.model, cell.batch): cell for cell in cells}
    assert at["llama-3.2-3b", 512].resident_bytes == pytest.approx(66.6e9, rel=2e-3)
    assert at["llamba-4b", 512].resident_bytes == pytest.approx(31.3e9, rel=2e-3)
    assert at["mamba-in-llama-3b", 512].resident_bytes == pytest.approx(22.3e9, rel=2e-3)
    assert [cell.batch for cell in cells if not cell.fits] == [512] and not at["llama-3.2-3b", 512].fits


def test_nothing_is_known_to_fit_where_the_memory_is_not_known():
    architecture = Architecture(
        parameters=10, linear_parameters=8, weight_bytes=40, step_weight_bytes=32, kv_bytes_per_token=2, state_bytes=5,
        shape={},
    )  # fmt: skip
    rates = MachineRates(bandwidths=((1, 2.0),), flops_per_s=4.0, device="x", dtype="float32")
    grid = TimingGrid(batches=(3,), prompt_tokens=(7,), new_tokens=1)
    (cell,) = roofline_cells({"m": architecture}, grid, rates, None)
    assert cell.fits is None
    assert (cell.step_bytes, cell.step_flops) == (32 + 3 * (2 * 8 + 2 * 5), 2 * 8 * 3)
    assert cell.step_s == pytest.approx(max(32 / 2, 48 / 4) + 78 / 2)
    assert cell.resident_bytes == 40 + 3 * (2 * 8 + 5)


@pytest.mark.parametrize("machine", PUBLISHED_MACHINES, ids=lambda machine: machine.name)
def test_every_machine_has_a_source_and_rates_of_its_time(machine):
    assert machine.source and published_machine(machine.name) is machine
    assert 1e11 < machine.bytes_per_s < 1e13 and 1e9 < machine.memory_bytes < 1e12
    assert 50 < machine.half_flops_per_s / machine.bytes_per_s < 500, "operations a byte, of any accelerator since 2020"
    with pytest.raises(UsageError, match="not for float32"):
        machine.rates("float32")


def test_a_machine_that_is_not_listed_is_refused_with_the_closest():
    with pytest.raises(UnknownNameError, match="did you mean 'h100'.*--bandwidth and --matrix-rate"):
        published_machine("H100")


def test_the_command_prints_floors_and_bounds_over_the_baseline_of_each_size(capsys):
    command = ["roofline", "-m", ",".join(PAPER), "--machine", "h100", "--batch", "1,512"]
    assert run_command_line([*command, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["machine"]["bytes_per_s"] == 3.35e12
    baselines = {cell["model"]: cell["baseline"] for cell in outcome["cells"]}
    assert baselines["llamba-1b"] == "llama-3.2-1b" and baselines["llamba-4b"] == "llama-3.2-3b"
    for cell in outcome["cells"]:
        assert (cell["bound"] is None) == (cell["model"] == cell["baseline"])
        assert cell["fits"] is True
    assert run_command_line(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "NVIDIA H100 SXM (3.35 TB/s and 989 TFLOP/s in bfloat16), nothing measured" in printed
    assert "x2.11" in printed and "16.8 ms" in printed


def test_rates_can_be_given_as_numbers_and_what_does_not_fit_is_marked(capsys):
    command = ["roofline", "-m", "nutshell-llama", "--bandwidth", "2e10", "--matrix-rate", "1e11", "--memory", "1e7"]
    assert run_command_line([*command, "--dtype", "float32", "--batch", "1,512", "--baseline", "nutshell-llama"]) == 0
    printed = capsys.readouterr().out
    assert "0.02 TB/s and 0.1 TFLOP/s in float32" in " ".join(printed.split())
    assert printed.count("too much") == 1 or printed.count("too much") == 2


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "--machine (a100-40gb"),
    (["--bandwidth", "1e12"], "both --bandwidth and --matrix-rate"),
    (["--machine", "h100", "--memory", "1e9"], "either with --machine"),
    (["--machine", "h300"], "unknown machine 'h300'"),
    (["--machine", "h100", "--dtype", "float32"], "not for float32"),
    (["--bandwidth", "0", "--matrix-rate", "1e12"], "--bandwidth is 0: expected a positive number"),
    (["--machine", "h100", "--batch", "0"], "batch is 0"),
    (["--machine", "h100", "--baseline", "llama"], "unknown baseline 'llama'"),
])  # fmt: skip
def test_what_makes_no_roofline_is_refused_with_the_cure(arguments, said, capsys):
    assert run_command_line(["roofline", "-m", "llama-3.2-1b", *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
