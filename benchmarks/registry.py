"""What the registry costs: publishing a large file, listing thousands of versions, and the import.

Publishing is compared with a plain copy and a sha256 of the same file, in turns in one process; the registry hashes
twice (the file, and its tensors), writes once, and waits for the disk. All of it happens in a temporary folder, which
is removed.
Usage: python benchmarks/registry.py [--gigabytes 1] [--repeats 5] [--versions 10000] [--place DIR] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from timetrial.clock import MonotonicClock
from timetrial_registry import Provenance, Registry, file_digest
from timetrial_registry.index import insert_version
from timetrial_registry.records import FileEntry, Manifest

TENSOR_BYTES = 64 << 20
"""Of one weight matrix, about that of an 8B model."""
FILES_OF_A_VERSION = 8
IMPORTS = NOTHING, PACKAGE, REGISTRY = "pass", "import timetrial_registry", "from timetrial_registry import Registry"
NO_TORCH = f"{REGISTRY}; import sys; assert not {{'torch', 'numpy', 'huggingface_hub'}} & set(sys.modules)"
Row = dict[str, Any]  # Any: JSON


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--place", type=Path, help="where to work, to measure another disk [default: the system's]")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.place) as place:
        rows = [
            *publishing(Path(place), round(arguments.gigabytes * 1e9), arguments.repeats),
            *listing(Path(place) / "many", arguments.versions, arguments.repeats),
            *importing(arguments.repeats),
        ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("what", "median s", "least s", "most s", "compared", "limit")
    for entry in rows:
        times = (f"{entry[name]:.3f}" for name in ("median_s", "min_s", "max_s"))
        table.add_row(entry["what"], *times, entry["compared"], entry["limit"])
    Console().print(table)


def publishing(place: Path, size: int, repeats: int) -> list[Row]:
    """Publish new files of one size, and copy and hash each of them plainly, in turns."""
    turns = [publish_once(place, size) for _ in range(repeats + 1)][1:]  # the first is a warm-up
    plain, synced, published, again, checked = zip(*turns, strict=True)
    gigabytes = f"{size / 1e9:g} GB"
    return [
        row(f"plain copy + sha256 of {gigabytes}", plain),
        row("the same, until it is on the disk", synced, baseline=plain),
        row(f"publish {gigabytes}", published, baseline=plain, limit="2 x"),
        row("publish the same again", again, baseline=plain),
        row(f"verify {gigabytes}", checked, baseline=plain),
    ]


def publish_once(place: Path, size: int) -> tuple[float, float, float, float, float]:
    """Return the seconds of a plain copy and sha256, of the same with fsync, of two publications and of verify."""
    checkpoint, copy, registry = place / "checkpoint", place / "copy", Registry(place / "registry")
    write_checkpoint(checkpoint, size)
    weights = checkpoint / "model.safetensors"
    plain = seconds(lambda: (shutil.copyfile(weights, copy), file_digest(weights)))
    synced = plain + seconds(lambda: sync(copy))
    copy.unlink()
    published = seconds(lambda: registry.publish("large", checkpoint))
    again = seconds(lambda: registry.publish("large", checkpoint))
    checked = seconds(lambda: registry.verify())
    registry.delete("large")
    registry.collect(dry_run=False, grace_s=0)
    return plain, synced, published, again, checked


def listing(folder: Path, number: int, repeats: int) -> list[Row]:
    """List versions whose rows are in the database, without files, which a listing does not look at."""
    registry = Registry.create(folder)
    with registry._database.write() as connection:
        for version in range(number):
            insert_version(connection, "many", manifest(version), "benchmark")
    times = [seconds(lambda: registry.versions()) for _ in range(repeats + 1)]
    one = [seconds(lambda: registry.get(f"many@{number // 2}")) for _ in range(repeats + 1)]
    assert len(registry.versions()) == number
    return [
        row(f"list {number:,} versions", times[1:], limit="0.1 s"),
        row(f"find one of {number:,} versions", one[1:]),
    ]


def importing(repeats: int) -> list[Row]:
    """Start Python with and without the import, in turns; compiled files are kept, as after an installation."""
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[float]] = {code: [] for code in IMPORTS}
        for _ in range(2 * repeats + 1):
            for code in IMPORTS:
                command = partial(subprocess.run, [sys.executable, "-c", code], env=environment, check=True)
                times[code].append(seconds(command))
        subprocess.run([sys.executable, "-c", NO_TORCH], check=True)
    return [
        row("python -c pass", times[NOTHING][1:]),
        row("python -c 'import timetrial_registry'", times[PACKAGE][1:], extra=times[NOTHING][1:], limit="+0.1 s"),
        row("... and its Registry", times[REGISTRY][1:], extra=times[NOTHING][1:]),
    ]


def write_checkpoint(folder: Path, size: int) -> None:
    """Write random bfloat16 weights in matrices of one size."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    number = max(1, size // TENSOR_BYTES)
    each = size // number // 2 * 2
    header = {
        f"layer.{at}": {"dtype": "BF16", "shape": [each // 2], "data_offsets": [at * each, (at + 1) * each]}
        for at in range(number)
    }
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _ in range(number):
            file.write(os.urandom(each))
    sync(folder / "model.safetensors")  # nobody should wait for these bytes later


def manifest(version: int) -> Manifest:
    files = tuple(
        FileEntry(path=f"file-{at}.json", size=at, sha256=f"{version:056x}{at:08x}", media_type="application/json")
        for at in range(FILES_OF_A_VERSION)
    )
    config = {"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "seed": version}
    return Manifest(files=files, tensor_digest=f"{version:064x}", config=config, provenance=Provenance(seed=version))


def sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def seconds(work: Callable[[], object]) -> float:
    clock = MonotonicClock()
    start = clock.now()
    work()
    return clock.now() - start


def row(
    what: str,
    times: Sequence[float],
    *,
    baseline: Sequence[float] | None = None,
    extra: Sequence[float] | None = None,
    limit: str = "",
) -> Row:
    """Return median and extremes, and how the median compares with that of a baseline: its ratio, or what is extra."""
    middle = statistics.median(times)
    compared = ""
    if baseline is not None:
        compared = f"{middle / statistics.median(baseline):.2f} x"
    elif extra is not None:
        compared = f"+{middle - statistics.median(extra):.3f} s"
    times_s = {"median_s": middle, "min_s": min(times), "max_s": max(times)}
    return {"what": what, **times_s, "compared": compared, "limit": limit}


if __name__ == "__main__":
    main()
