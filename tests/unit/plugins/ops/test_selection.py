"""Which kernels are used on a device, and why the others are not, is a matter of facts that can be given."""

from importlib import metadata

import pytest

from timetrial_plugins.ops.packages import MODULES, Package, inspect_package
from timetrial_plugins.ops.selection import DeviceFacts, implementations

HOPPER = DeviceFacts("cuda", (9, 0))
EVERYTHING = {name: Package(name=name, version="1.0") for name in MODULES}


def states(device, packages=EVERYTHING, **options):
    return {entry.name: entry.state for entry in implementations(device, packages, **options)}


def problems(device, packages=EVERYTHING, **options):
    """Why what is for this kind of device cannot be used."""
    found = {entry.name: entry.problem for entry in implementations(device, packages, **options) if entry.problem}
    if device.kind == "cuda" and device.problem is None:
        assert found.pop("native") == "its kernels run on CPUs only"
    return found


def test_on_a_gpu_triton_is_active_and_libraries_are_candidates():
    assert states(HOPPER) == {
        "native": "unusable",
        "triton": "active",
        "mamba-ssm": "candidate",
        "flash-attn": "candidate",
        "pytorch": "fallback",
    }


def test_on_a_cpu_kernels_in_c_are_active_and_the_rest_says_why_not():
    cpu = DeviceFacts("cpu")
    assert states(cpu)["native"] == "active" and states(cpu)["pytorch"] == "fallback"
    assert problems(cpu) == dict.fromkeys(["triton", "mamba-ssm", "flash-attn"], "its kernels run on GPUs only")


def test_without_a_compiler_pytorch_is_active_on_a_cpu():
    cpu = DeviceFacts("cpu", build_problem="there is no C compiler")
    assert states(cpu)["pytorch"] == "active"
    assert problems(cpu)["native"] == "there is no C compiler"


def test_without_a_device_nothing_is_active_and_its_absence_is_the_reason():
    nowhere = DeviceFacts("cuda", None, "PyTorch sees no device")
    assert set(states(nowhere).values()) == {"unusable"}
    assert set(problems(nowhere).values()) == {"PyTorch sees no device"}


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        (Package(name="triton", version=None), "triton is not installed"),
        (
            Package(name="triton", version="3.0", error="ImportError: no"),
            "triton 3.0 cannot be imported (ImportError: no)",
        ),
    ],
    ids=["absent", "broken"],
)
def test_what_lacks_a_package_falls_back_and_says_so(package, expected):
    packages = {**EVERYTHING, "triton": package}
    assert states(HOPPER, packages)["pytorch"] == "active"
    assert problems(HOPPER, packages) == {"triton": expected, "mamba-ssm": expected}


def test_an_old_device_runs_pytorch():
    old = DeviceFacts("cuda", (7, 5))
    assert states(old)["pytorch"] == "active"
    assert problems(old)["triton"] == "compute capability 7.5 is less than 8.0"


def test_interpreted_kernels_are_not_used():
    assert set(problems(HOPPER, is_interpreted=True)) == {"triton", "mamba-ssm"}


def not_installed(name):
    raise metadata.PackageNotFoundError(name)


def broken(module):
    raise OSError("libcudart.so.11.0:\n cannot open")


def test_a_package_is_absent_or_broken_or_there():
    assert inspect_package("triton", version=not_installed).problem == "triton is not installed"
    assert inspect_package("triton", version=lambda name: "3.0", load=broken).error == (
        "OSError: libcudart.so.11.0: cannot open"
    )
    assert inspect_package("torch") == Package(name="torch", version=metadata.version("torch"))
