"""How much memory a rank's loader takes on 100 million rows, beside 1 million rows and the same buffers.

    .venv/bin/python benchmarks/memory.py [--quick]

Packed rows of 4 float32 and a label, 24 bytes each. Every measurement is a process of its own that reads one epoch
through Petastorm, shuffled within windows of 200,000 rows, with 2 threads, and says the greatest resident memory that
it has had. `slow` is a consumer that sleeps a millisecond at each batch, so that all that can be read ahead piles up.
Medians of interleaved runs; the files, 2.4 GB, are removed. The last line is JSON: `ratio.rows` is the memory for 100
million rows over that for 1 million, `ratio.slow_consumer` that for 100 million rows with the slow consumer over the
same 1 million.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.data.loading.loader import Loader
from sparkdl.data.sampling.plan import Plan
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, DataSchema, Field

SCHEMA = DataSchema(
    (
        Field("x", INPUT, ARRAY, ("x",), "float32", (4,)),
        Field("label", LABEL, SCALAR, ("label",), "float32", (1,)),
    )
)
FILE_ROWS, BATCH, WINDOW = 1_000_000, 4096, 200_000
SLEEP = 0.001
RUNS = {"few": ("few", 0.0), "many": ("many", 0.0), "many, slow": ("many", SLEEP)}
"""Folder, and seconds of sleep at each batch."""


def write(folder: Path, rows: int) -> None:
    """Write packed rows in files of a million."""
    folder.mkdir()
    layout = RowLayout.of(SCHEMA)
    x = np.random.default_rng(0).standard_normal((layout.group_rows, 4), dtype=np.float32)
    files = []
    for number, first in enumerate(range(0, rows, FILE_ROWS)):
        path = folder / f"part-{number:03d}.parquet"
        groups = []
        with layout.writer(path) as writer:
            for start in range(first, min(rows, first + FILE_ROWS), layout.group_rows):
                stop = min(rows, first + FILE_ROWS, start + layout.group_rows)
                label = np.arange(start, stop, dtype=np.float32)[:, None]
                writer.write_table(layout.to_table([layout.pack({"x": x[: stop - start], "label": label})]))
                groups.append(stop - start)
        files.append(DataFile(path.name, number, 0, tuple(groups), path.stat().st_size))
    (folder / "manifest.json").write_text(json.dumps(Manifest(str(folder), SCHEMA, tuple(files)).to_json()))


def read(folder: Path, sleep: float) -> None:
    """Read one epoch and print rows, MiB at the peak, and seconds."""
    manifest = Manifest.from_json(json.loads((folder / "manifest.json").read_text()))
    loader = Loader(manifest, Plan.of(manifest, batch_size=BATCH, window=WINDOW), 0, 1, threads=2)
    began, rows = time.perf_counter(), 0
    for batch in loader.epoch(0):
        rows += len(batch.inputs[0])
        if sleep:
            time.sleep(sleep)
    seconds = time.perf_counter() - began
    loader.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "peak": peak, "seconds": seconds}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="2 million rows for the 100 million, to see that it runs")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sleep", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.read, arguments.sleep)
        return
    rows = {"few": 1_000_000, "many": 2_000_000 if arguments.quick else 100_000_000}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in RUNS}
    with tempfile.TemporaryDirectory(prefix="sparkdl-benchmark-") as scratch:
        for name, count in rows.items():
            write(Path(scratch, name), count)
        for _ in range(1 if arguments.quick else 3):
            for name, (data, sleep) in RUNS.items():
                command = [sys.executable, __file__, "--read", str(Path(scratch, data)), "--sleep", str(sleep)]
                one = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                if one["rows"] != rows[data]:
                    raise SystemExit(f"{name} has seen {one['rows']} of {rows[data]} rows")
                found[name].append(one)
    peak = {name: statistics.median(one["peak"] for one in runs) for name, runs in found.items()}
    seconds = {name: round(statistics.median(one["seconds"] for one in runs), 2) for name, runs in found.items()}
    print(f"{'run':12} {'rows':>12} {'MiB, each run':36} {'seconds':>8}")
    for name, runs in found.items():
        each = ", ".join(f"{one['peak']:.0f}" for one in runs)
        print(f"{name:12} {rows[RUNS[name][0]]:12,} {each:36} {seconds[name]:8.2f}")
    ratio = {"rows": peak["many"] / peak["few"], "slow_consumer": peak["many, slow"] / peak["few"]}
    print(json.dumps({"name": "memory", "ratio": {k: round(v, 3) for k, v in ratio.items()}, "seconds": seconds}))


if __name__ == "__main__":
    main()
