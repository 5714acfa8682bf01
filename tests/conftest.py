"""Settings of the whole test run."""

import os

# Tiny models are quickest on one thread, and two threads beside any other process are very slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may reach for the network, not even to learn that there is none.
os.environ["HF_HUB_OFFLINE"] = "1"
