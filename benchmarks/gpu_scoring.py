"""How many rows a second are scored on a GPU, beside plain torch from pinned memory. Without Spark.

    .venv/bin/python benchmarks/gpu_scoring.py [--only mlp encoder resnet18 resnet50 jpeg] [--rounds 5] [--quick]

Four networks score rows in bf16 that lie in pinned memory, images as bytes: by `Scorer`, which chooses the rows at once
and the order of images in memory, and by plain torch, at the batch size with which it is fastest. `jpeg` is JPEG bytes
in Arrow through `ScoringPlan` into a ResNet-18, with a thread for each core, beside simplejpeg alone on as many threads
and the forward pass alone.

The last line is JSON: `ratio` by network, our rows a second over those of plain torch, and `jpeg`, ours over the
smaller of decoding and forward pass alone (more is better); and `rows_per_second`, medians of the rounds.

Where there is no GPU it says so and ends; `--device cpu --quick` shows on small rows that it runs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from baselines.networks import CLASSES, NETWORKS, SIDE, resnet18, rows
from PIL import Image
from torch import Tensor, nn

from sparkdl.schema import IMAGE, INPUT, Field
from sparkdl.scoring.outputs import GenericHead
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import Scorer, ScorerSettings

ROWS = {"mlp": 1 << 20, "encoder": 1024, "resnet18": 2048, "resnet50": 2048}
BATCHES = {"mlp": (8192, 32_768), "encoder": (64, 256), "resnet18": (256,), "resnet50": (256,)}
"""Rows at once that plain torch is tried with."""
JPEG = "jpeg"
ARROW_ROWS = 1024
"""Images of an Arrow batch."""
THREADS = os.cpu_count() or 1
Way = Callable[[], int]
"""Scores some rows, and returns how many."""


def pinned_rows(name: str, args: argparse.Namespace) -> Tensor:
    """Return rows for a network, pinned where there is a GPU."""
    made = rows(name, 16 if args.quick else ROWS[name])
    if args.quick and name != "mlp":
        made = made[..., :32, :32].clone() if made.dim() == 4 else made[:, :8].clone()
    return made.pin_memory() if args.device == "cuda" else made


def plain(network: nn.Module, pieces: list[Tensor], args: argparse.Namespace) -> Way:
    """Return what a careful user writes: copied without waiting, images scaled there, the result brought back."""

    def score() -> int:
        with torch.inference_mode(), torch.autocast(args.device, torch.bfloat16):
            for piece in pieces:
                x = piece.to(args.device, non_blocking=True)
                network(x.float().div_(255) if x.dtype == torch.uint8 else x).cpu()
        return sum(map(len, pieces))

    return score


def ours(network: nn.Module, pieces: list[Tensor], args: argparse.Namespace) -> Way:
    """Return the same by a Scorer."""
    scorer = Scorer(network, ScorerSettings(device=args.device, precision="bf16"))

    def score() -> int:
        return sum(len(outputs[0]) for outputs in scorer.stream(iter([[piece] for piece in pieces])))

    return score


def jpegs(count: int, side: int) -> list[bytes]:
    """Return JPEGs of images with some structure, as photographs have it."""
    generator = np.random.default_rng(0)
    made = []
    for _ in range(min(count, 256)):
        coarse = Image.fromarray(generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
        stream = io.BytesIO()
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        made.append(stream.getvalue())
    return [made[index % len(made)] for index in range(count)]


def jpeg_plan(network: nn.Module, data: list[bytes], side: int, args: argparse.Namespace) -> Way:
    """Return JPEG bytes in Arrow to columns in Arrow."""
    field = Field("image", INPUT, IMAGE, ("image",), "float32", (3, side, side))
    settings = ScorerSettings(device=args.device, precision="bf16")
    plan = ScoringPlan((field,), GenericHead(("logits",), ((CLASSES,),)), (), settings)
    scorer = Scorer(network, settings)
    batches = [pa.array(data[at : at + ARROW_ROWS], pa.binary()) for at in range(0, len(data), ARROW_ROWS)]

    def score() -> int:
        return sum(len(columns[0]) for columns in plan.stream(scorer, iter([[[b]] for b in batches]), THREADS))

    return score


def decoding(data: list[bytes]) -> Way:
    """Return simplejpeg alone, on a thread for each core."""

    def decode(part: list[bytes]) -> int:
        for value in part:
            simplejpeg.decode_jpeg(value)
        return len(part)

    def score() -> int:
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(pool.map(decode, [data[at : at + 32] for at in range(0, len(data), 32)]))

    return score


def ways_of(name: str, args: argparse.Namespace) -> dict[str, Way]:
    """Return what is measured of a network: `ours`, and what it is compared with."""
    torch.manual_seed(0)
    if name == JPEG:
        side, count = (32, 64) if args.quick else (SIDE, 32_768)
        data, network = jpegs(count, side), resnet18().eval().to(args.device)
        pixels = rows("resnet18", 16 if args.quick else 2048)[..., :side, :side].contiguous()
        pixels = pixels.to(memory_format=torch.channels_last)
        pixels = pixels.pin_memory() if args.device == "cuda" else pixels
        last = resnet18().eval().to(args.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return {
            "ours": jpeg_plan(network, data, side, args),
            "decoding alone": decoding(data),
            "forward alone": plain(last, list(pixels.split(256)), args),
        }
    made = pinned_rows(name, args)
    ways = {"ours": ours(NETWORKS[name]().eval(), [made], args)}
    network = NETWORKS[name]().eval().to(args.device)
    for size in BATCHES[name]:
        ways[f"plain torch, {size:,} at once"] = plain(network, list(made.split(size)), args)
    return ways


def measure(ways: dict[str, Way], args: argparse.Namespace) -> dict[str, float]:
    """Return the rows per second of each way, medians of rounds that take turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(args.rounds + 1):
        for name, score in ways.items():
            began, count = time.perf_counter(), score()
            # Each way has its results on the CPU: nothing is left on the GPU that would have to be waited for.
            found[name] += [count / (time.perf_counter() - began)] if turn else []
    return {name: statistics.median(speeds) for name, speeds in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=[*NETWORKS, JPEG], default=[*NETWORKS, JPEG])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="few small rows and one round, to see that it runs")
    args = parser.parse_args()
    args.rounds = 1 if args.quick else args.rounds
    ratio: dict[str, float] = {}
    speeds: dict[str, Any] = {}
    if args.device == "cuda" and not torch.cuda.is_available():
        print("there is no GPU")
    else:
        where = torch.cuda.get_device_name() if args.device == "cuda" else "the CPU"
        print(f"rows a second on {where}, {THREADS} cores, torch {torch.__version__}")
        for name in args.only:
            found = measure(ways_of(name, args), args)
            others = [speed for way, speed in found.items() if way != "ours"]
            bound = min(others) if name == JPEG else max(others)
            ratio[name] = round(found["ours"] / bound, 3)
            speeds[name] = {way: round(speed) for way, speed in found.items()}
            for way, speed in found.items():
                print(f"{name:10} {way:30} {speed:12,.0f}", flush=True)
            print(f"{'ratio.' + name:41} {ratio[name]:12.3f}", flush=True)
    print(json.dumps({"name": "gpu_scoring", "ratio": ratio, "rows_per_second": speeds}))


if __name__ == "__main__":
    main()
