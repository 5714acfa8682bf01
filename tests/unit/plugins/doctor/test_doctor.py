"""`timetrial doctor` says what is here, and fails only if something that is installed is broken."""

import json

import pytest
from click.testing import CliRunner

from timetrial_plugins.doctor import command, examination, machine
from timetrial_plugins.doctor.examination import examine, num_looks
from timetrial_plugins.doctor.machine import Cuda, Gpu
from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.packages import Package

GPU = Gpu(name="NVIDIA H100", capability=(9, 0), memory_bytes=85 * 10**9, free_bytes=84 * 10**9)
WITH_GPU = Cuda(driver="580.1", runtime="13.0", gpus=(GPU,), problem=None, is_broken=False)
BROKEN = Cuda(driver="470.1", runtime="13.0", gpus=(), problem="the driver is too old", is_broken=True)


def look(inspect=None, **options):
    """Examine, and return the findings and how much progress was reported."""
    steps = []
    given = {} if inspect is None else {"inspect": inspect}
    return examine("3.12.1", steps.append, measures=False, **given, **options), sum(steps)


def found(name):
    return Package(name=name, version="1.0")


def run(*arguments):
    result = CliRunner().invoke(command.doctor, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_this_machine_is_examined_and_what_is_absent_is_no_fault():
    findings, steps = look()
    assert steps == num_looks(measures=False)
    assert findings.processor.cores >= 1 and findings.processor.threads >= 1
    states = {entry.name: entry.state for entry in findings.kernels["cpu"]}
    best = "native" if build_problem() is None else "pytorch"
    assert [name for name, state in states.items() if state == "active"] == [best]
    absent = [package.name for package in findings.packages if package.version is None]
    assert not any(name in fault for name in absent for fault in findings.faults)


def test_a_gpu_and_its_kernels_are_shown(monkeypatch):
    monkeypatch.setattr(examination, "inspect_cuda", lambda: WITH_GPU)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    findings, _ = look(found)
    assert {entry.name: entry.state for entry in findings.kernels["cuda"]}["triton"] == "active"
    monkeypatch.setattr(command, "examine", lambda *_, **__: findings)
    text = run().output
    assert "NVIDIA H100" in text and "compute capability 9.0" in " ".join(text.split())


def test_a_package_that_cannot_be_imported_is_a_fault_and_fails_the_command(monkeypatch):
    def inspect(name):
        error = "ImportError: undefined symbol" if name == "flash-attn" else None
        return Package(name=name, version="2.8", error=error)

    findings, _ = look(inspect)
    assert findings.faults == ("flash-attn 2.8 cannot be imported (ImportError: undefined symbol)",)
    monkeypatch.setattr(command, "examine", lambda *_, **__: findings)
    result = run()
    assert result.exit_code == 1 and "broken: flash-attn 2.8" in result.output


def test_a_gpu_that_pytorch_cannot_use_is_a_fault(monkeypatch):
    monkeypatch.setattr(examination, "inspect_cuda", lambda: BROKEN)
    findings, _ = look(found)
    assert findings.faults == ("the GPU cannot be used (the driver is too old)",)
    assert {entry.problem for entry in findings.kernels["cuda"]} == {"the driver is too old"}


def test_without_pytorch_the_rest_is_still_reported():
    findings, _ = look(lambda name: Package(name=name, version=None if name == "torch" else "1.0"))
    assert findings.processor is None and findings.faults == ()
    assert [package.name for package in findings.packages if package.version is None] == ["torch"]


def test_the_findings_come_as_json_on_stdout():
    result = run("--json")
    data = json.loads(result.stdout)
    assert set(data) == {"python", "packages", "processor", "cuda", "kernels", "rates", "faults"}
    names = {"native", "triton", "mamba-ssm", "flash-attn", "pytorch"}
    assert {entry["name"] for entry in data["kernels"]["cpu"]} == names
    assert data["rates"] == {}


def test_an_absent_driver_is_told_from_one_without_a_device(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine._driver_version() is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 580.65.06\n")
    tool.chmod(0o755)
    assert machine._driver_version() == "580.65.06"
    tool.write_text("#!/bin/sh\necho failed because of the driver\nexit 9\n")
    assert machine._driver_version() is None


@pytest.mark.slow
def test_rates_are_measured_when_asked_for():
    steps = []
    findings = examine("3.12.1", steps.append, measures=True)
    assert sum(steps) == num_looks(measures=True)
    assert [rates.dtype for rates in findings.rates["cpu"]] == ["float32", "bfloat16"]
    assert all(rates.flops_per_s > 0 for rates in findings.rates["cpu"])
