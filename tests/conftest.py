"""Settings of the whole test run."""

import functools
import gc
import os

import pytest

# Tiny models are quickest on one thread, and two threads beside any other process are very slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may reach for the network, not even to learn that there is none.
os.environ["HF_HUB_OFFLINE"] = "1"
# Nor may one find, or change, the registry of whoever runs the tests: nothing can exist there.
os.environ["TIMETRIAL_REGISTRY"] = os.path.join(os.devnull, "registry")
# Triton's kernels run in its interpreter. Triton reads this once, when it is imported, which torch may do at any time.
# Tests that need an accelerator run with it set to 0 (docs/gpu.md).
os.environ.setdefault("TRITON_INTERPRET", "1")
# What is imported and collected stays to the end: the garbage collector need not go through it over and over.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def rates_measured_once():
    """What `measure_rates` does, but once a process: a command that times anything spends seconds on it."""
    from timetrial_plugins.engine.roofline import measure_rates

    known = {}

    @functools.wraps(measure_rates)
    def measure(options, clock):
        asked = (options.device, options.dtype)
        if asked not in known:
            known[asked] = measure_rates(options, clock)
        return known[asked]

    return measure
