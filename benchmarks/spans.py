"""What reading rows of different lengths in spans saves the modules' own steps, with and without, in turns.

A quarter of the rows of a random Llama of about 5 million parameters has come to each of four lengths, as in a run
whose finished rows make room for new ones. Without spans every row is read as far as the longest. The fastest step of
each counts: what the machine did when least disturbed. Native kernels read every row as far as it goes, and need none.
Usage: python benchmarks/spans.py [--batches 64,256] [--lengths 480,200,100,40] [--steps 20]
"""

from __future__ import annotations

import argparse
import sys

import torch
from generate import SIZES

from timetrial.clock import MonotonicClock
from timetrial.protocol import Sampling
from timetrial.spec import LoadOptions
from timetrial_plugins.engine.batch import DecodeBatch
from timetrial_plugins.engine.random_weights import RandomModel, build_random
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.models import attention_state
from timetrial_plugins.models.families import BUILDERS

VOCABULARY = 583  # the nutshell tokenizer's, as in the other benchmarks


def begun(model: RandomModel, lengths: list[int], batch: int, steps: int, least_saved_bytes: int) -> DecodeBatch:
    """Return a batch whose rows have come to the lengths, after a step in which it has chosen its spans."""
    attention_state._LEAST_SAVED_BYTES = least_saved_bytes
    decode = DecodeBatch(model._module, Sampler(Sampling(temperature=1.0)), batch, max(lengths) + steps + 1)
    for length in lengths:
        prompt = [token % VOCABULARY for token in range(length)]
        decode.admit(decode.prefill(prompt), range(batch // len(lengths)))
    decode.advance()
    return decode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="64,256")
    parser.add_argument("--lengths", default="480,200,100,40", help="the longest first, as a batch sorts its rows")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    clock, lengths = MonotonicClock(), [int(length) for length in arguments.lengths.split(",")]
    options = LoadOptions(device="cpu", dtype="float32", kernels="eager")
    config = SIZES["llama"] | {"vocab_size": VOCABULARY}
    model = build_random(config, options, family="llama", build=BUILDERS["llama"])
    limits = {"in spans": attention_state._LEAST_SAVED_BYTES, "as one": sys.maxsize}
    for batch in map(int, arguments.batches.split(",")):
        sides = {name: begun(model, lengths, batch, arguments.steps, limit) for name, limit in limits.items()}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(arguments.steps):
            for name, decode in sides.items():
                start = clock.now()
                decode.advance()
                seconds[name].append(clock.now() - start)
        fastest = {name: 1e3 * min(values) for name, values in seconds.items()}
        steps = ", ".join(f"{name} {value:.2f} ms" for name, value in fastest.items())
        ratio = fastest["as one"] / fastest["in spans"]
        print(f"batch {batch}, {torch.get_num_threads()} threads: a step {steps}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
