"""Settings of the whole test run."""

import os

# Tiny models are quickest on one thread, and two threads beside any other process are very slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may reach for the network, not even to learn that there is none.
os.environ["HF_HUB_OFFLINE"] = "1"
# Nor may one find, or change, the registry of whoever runs the tests: nothing can exist there.
os.environ["TIMETRIAL_REGISTRY"] = os.path.join(os.devnull, "registry")
# Triton's kernels run in its interpreter. Triton reads this once, when it is imported, which torch may do at any time.
# Tests that need an accelerator run with it set to 0 (docs/gpu.md).
os.environ.setdefault("TRITON_INTERPRET", "1")
