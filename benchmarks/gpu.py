"""How long a training step takes on a GPU, beside the best loops written by hand. Without Spark.

    .venv/bin/python benchmarks/gpu.py [--compile] [--only mlp encoder resnet18 resnet50] [--rounds 5]

Four networks are trained in bf16 by `sparkdl.train.fit`, from pinned memory, and by a loop in plain torch with all that
is known to help: channels last, fused AdamW, autocast, the next batch copied on a stream of its own, nothing read from
the GPU. All batches are in memory. The last line is JSON: `ratio` by network, the time of the loop by hand over ours
(more is better), and `seconds` of a step, ours and `..._hand`, medians of the rounds. With `--compile` both are
compiled by torch, and the names end in `_compiled`.

Where there is no GPU it says so and ends; `--device cpu --quick` shows on small rows that it runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from baselines.networks import CLASSES, NETWORKS, rows
from torch import Tensor, nn
from torch.nn import functional

from sparkdl.comm.solo import SoloBackend
from sparkdl.train import loop
from sparkdl.train.config import TrainConfig

LEARNING_RATE = 1e-4
BATCHES = 4
"""That lie in memory and are taken in turn."""


@dataclass(frozen=True)
class Case:
    """A network, the rows of a step, classes of labels (0: numbers), and the steps of a round that are measured."""

    network: str
    batch: int
    classes: int
    steps: int
    warm_up: int = 10
    quick: bool = False


CASES = [
    Case("mlp", 4096, 0, 500),
    Case("encoder", 64, 2, 40),
    Case("resnet18", 256, CLASSES, 40),
    Case("resnet50", 256, CLASSES, 20),
]


class Batch(NamedTuple):
    """One step's rows, as `sparkdl.train.config.FeedBatch` has them."""

    inputs: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    weights: Tensor | None
    planned_rows: int

    def for_network(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.float().div_(255) if x.dtype == torch.uint8 else x for x in inputs)


def batches_of(case: Case, pinned: bool) -> list[Batch]:
    """Return random rows; images as they lie in memory once decoded, height before width before color."""
    made = []
    for seed in range(BATCHES):
        x = rows(case.network, case.batch, seed)
        if case.quick:
            x = x[..., :32, :32].clone() if x.dim() == 4 else x[:, :8].clone() if case.network == "encoder" else x
        generator = torch.Generator().manual_seed(seed)
        y = torch.randint(case.classes, (len(x), 1), generator=generator) if case.classes else x.sum(1, keepdim=True)
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        made.append(Batch((x.pin_memory() if pinned else x,), (y.pin_memory() if pinned else y,), None, len(x)))
    return made


class Clock:
    """Seconds of a step, by rounds; a round begins when the GPU is done with all before, and ends so."""

    def __init__(self, device: str) -> None:
        self.seconds: list[float] = []
        self._device = device
        self._began = 0.0

    def start(self) -> None:
        self._wait()
        self._began = time.perf_counter()

    def stop(self, steps: int) -> None:
        self._wait()
        self.seconds.append((time.perf_counter() - self._began) / steps)

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


class PinnedFeed:
    """The batches in turn; an epoch is a round."""

    def __init__(self, batches: list[Batch], case: Case, clock: Clock) -> None:
        self._batches, self._case, self._clock = batches, case, clock
        self.steps = case.warm_up + case.steps
        self.rows = self.steps * batches[0].planned_rows
        self.wait_seconds = 0.0

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        for step in range(self.steps):
            if step == self._case.warm_up:
                self._clock.start()
            yield self._batches[step % len(self._batches)]
        self._clock.stop(self._case.steps)

    def close(self) -> None:
        pass


def ours(case: Case, module: nn.Module, batches: list[Batch], args: argparse.Namespace) -> list[float]:
    """Return the seconds of a step in each round of a fit."""
    clock = Clock(args.device)
    settings: dict[str, Any] = {"compile": True} if args.compile else {}
    config = TrainConfig(
        losses=("cross_entropy" if case.classes else "mse",),
        optimizer="adamw",
        learning_rate=LEARNING_RATE,
        epochs=args.rounds + 1,
        precision="bf16" if args.device == "cuda" else "float32",
        device=args.device,
        # As a rank finds out by trying both.
        channels_last=batches[0].inputs[0].dim() == 4,
        **settings,
    )
    loop.fit(module, config, PinnedFeed(batches, case, clock), None, SoloBackend())
    # The first epoch builds and measures what later ones use.
    return clock.seconds[1:]


class Ahead:
    """The batches on the device, the next one copied on a side stream while a step runs."""

    def __init__(self, batches: list[Batch], device: str) -> None:
        self._batches, self._device, self._next = batches, device, 0
        self._stream = torch.cuda.Stream() if device == "cuda" else None
        self._ready = self._start()

    def take(self) -> tuple[Tensor, Tensor]:
        """Return inputs and target of the next step."""
        x, y = self._ready
        if self._stream is not None:
            user = torch.cuda.current_stream()
            user.wait_stream(self._stream)
            x.record_stream(user)
            y.record_stream(user)
        self._ready = self._start()
        return (x.float().div_(255) if x.dtype == torch.uint8 else x), y

    def _start(self) -> tuple[Tensor, Tensor]:
        batch = self._batches[self._next % len(self._batches)]
        self._next += 1
        if self._stream is None:
            return batch.inputs[0], batch.targets[0]
        with torch.cuda.stream(self._stream):
            return batch.inputs[0].cuda(non_blocking=True), batch.targets[0].cuda(non_blocking=True)


def by_hand(case: Case, module: nn.Module, batches: list[Batch], args: argparse.Namespace) -> list[float]:
    """Return the same for the loop that a careful user writes."""
    cuda = args.device == "cuda"
    module = module.to(args.device).train()
    if batches[0].inputs[0].dim() == 4:
        module = module.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, fused=True)
    network: Any = torch.compile(module) if args.compile else module
    ahead, clock = Ahead(batches, args.device), Clock(args.device)
    for _ in range(args.rounds + 1):
        for step in range(case.warm_up + case.steps):
            if step == case.warm_up:
                clock.start()
            x, y = ahead.take()
            optimizer.zero_grad()
            with torch.autocast(args.device, torch.bfloat16, enabled=cuda):
                output = network(x)
            output = output.float()
            loss = functional.cross_entropy(output, y[:, 0]) if case.classes else functional.mse_loss(output, y)
            loss.backward()
            optimizer.step()
        clock.stop(case.steps)
    return clock.seconds[1:]


def measure(case: Case, args: argparse.Namespace) -> tuple[float, float]:
    """Return the median seconds of a step: ours, and by hand; measured by halves in turn."""
    batches = batches_of(case, args.device == "cuda")
    found: dict[Any, list[float]] = {ours: [], by_hand: []}
    for way in (by_hand, ours, by_hand, ours):
        torch.manual_seed(0)
        found[way] += way(case, NETWORKS[case.network](), batches, args)
        gc.collect()
        if args.device == "cuda":
            torch.cuda.empty_cache()
    return statistics.median(found[ours]), statistics.median(found[by_hand])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--compile", action="store_true", help="compile both")
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3, help="of each of two fits")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="few small rows and steps, to see that it runs")
    args = parser.parse_args()
    cases = [replace(c, batch=4, steps=2, warm_up=1, quick=True) for c in CASES] if args.quick else CASES
    ratio: dict[str, float] = {}
    seconds: dict[str, float] = {}
    if args.device == "cuda" and not torch.cuda.is_available():
        print("there is no GPU")
    else:
        where = torch.cuda.get_device_name() if args.device == "cuda" else "the CPU"
        print(f"milliseconds of a step on {where}, torch {torch.__version__}{', compiled' if args.compile else ''}")
        print(f"{'':10} {'by hand':>9} {'ours':>9} {'ratio':>6}")
        for case in cases:
            if case.network in args.only:
                mine, hand = measure(case, args)
                name = case.network + ("_compiled" if args.compile else "")
                ratio[name] = round(hand / mine, 3)
                seconds |= {name: round(mine, 6), f"{name}_hand": round(hand, 6)}
                print(f"{case.network:10} {1e3 * hand:9.2f} {1e3 * mine:9.2f} {hand / mine:6.2f}", flush=True)
    print(json.dumps({"name": "gpu", "ratio": ratio, "seconds": seconds}))


if __name__ == "__main__":
    main()
