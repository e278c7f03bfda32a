"""One rank's main: a loader for its rows, a backend for the others, the training loop."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from sparkdl.comm import open_backend
from sparkdl.data.loading.loader import Loader
from sparkdl.data.readers import PETASTORM, ReaderMaker, import_now
from sparkdl.data.readers.spool import Spooled
from sparkdl.network.channels_last import may_gain, trains_channels_last
from sparkdl.train import loop
from sparkdl.train.device_network import device_of
from sparkdl.train.metrics import load_without_scipy
from sparkdl.train.optim import spare_dynamo
from sparkdl.train.precision import Precision

if TYPE_CHECKING:
    from torch import nn

    from sparkdl.cluster.job import RankContext
    from sparkdl.comm.backend import Backend
    from sparkdl.data.format.manifest import Manifest
    from sparkdl.data.sampling.plan import Plan
    from sparkdl.schema import DataSchema
    from sparkdl.train.checkpoint.config import CheckpointConfig
    from sparkdl.train.config import TrainConfig

Split = tuple["Manifest", "Plan"]

_SWITCH_SECONDS = 0.0005
_FLOPS_PER_SECOND = 50e9
"""Of one thread of a CPU; a step takes at least as long as this says."""


def fit(
    context: RankContext,
    *,
    module: nn.Module,
    config: TrainConfig,
    train: Split,
    validation: Split | None,
    storage_options: Mapping[str, Any],
    checkpoints: CheckpointConfig | None = None,
) -> dict[str, Any]:
    """Train the network on this rank's rows.

    Parameters
    ----------
    context : RankContext
        This rank and its device.
    module : nn.Module
        On the CPU, with its first weights, the same on every rank.
    config : TrainConfig
        Its device is replaced by the rank's.
    train, validation : (Manifest, Plan)
        The rows to learn from, and those that are only measured.
    storage_options : mapping
        For the file system of the rows.
    checkpoints : CheckpointConfig, optional
        Where checkpoints are written, and from which one the training goes on.

    Returns
    -------
    dict
        Of rank 0: "state" (bytes, for `torch.load` with ``weights_only=True``), "history", "best_epoch", "steps",
        and "seconds" of the training by part, "total" from the first line of this function. Empty on other ranks.
    """
    began = time.monotonic()
    _settle_process(config)
    with ExitStack() as stack:
        splits = [train] if validation is None else [train, validation]
        spooled = (
            Spooled(context.spool_sources, [manifest for manifest, _ in splits]) if context.spool_sources else None
        )
        readers = [PETASTORM if spooled is None else spooled.reader(index) for index in range(len(splits))]
        rows, *held = (
            stack.enter_context(closing(_loader(split, context, reader, storage_options, config.epochs)))
            for split, reader in zip(splits, readers, strict=True)
        )
        patience = max(context.start_timeout, context.heartbeat_timeout)
        backend = open_backend(
            context.backend,
            timeout=patience,
            device=context.device,
            step_seconds=_step_seconds(module, train[1], context) if context.device == "cpu" else None,
        )
        stack.callback(backend.close)
        try:
            settings = replace(config, device=context.device)
            settings = replace(settings, channels_last=_channels_last(module, train[0].schema, settings, backend))
            result = loop.fit(module, settings, rows, held[0] if held else None, backend, context.emit, checkpoints)
        except BaseException:
            # The others wait in a collective call for this rank: they must not wait until it times out.
            backend.abort()
            raise
    if context.rank:
        return {}
    return {
        "state": _to_bytes(result.state),
        "history": [dict(row) for row in result.history],
        "best_epoch": result.best_epoch,
        "steps": result.steps,
        "seconds": {**result.seconds, "total": time.monotonic() - began},
    }


def warm_up() -> None:
    """Import what `fit` imports when it needs it; called once by the server that ranks are forked from."""
    import_now(PETASTORM)
    load_without_scipy()


def _settle_process(config: TrainConfig) -> None:
    """Change what other libraries do in this process: it is the rank's own."""
    # A step that comes back from an all-reduce waits for Python's lock: 5 ms by default while a thread reads ahead.
    sys.setswitchinterval(_SWITCH_SECONDS)
    if not config.compile:
        spare_dynamo()
    if config.metrics:
        load_without_scipy()


def _loader(
    split: Split, context: RankContext, reader: str | ReaderMaker, storage_options: Mapping[str, Any], epochs: int
) -> Loader:
    manifest, plan = split
    loader = Loader(
        manifest,
        plan,
        context.rank,
        context.size,
        reader=reader,
        threads=max(1, context.threads // 2),
        storage_options=storage_options,
        epochs=epochs,
        pinned=context.device == "cuda",
    )
    if not context.spool_sources:
        loader.check()
    return loader


def _step_seconds(module: nn.Module, plan: Plan, context: RankContext) -> float:
    """Return how long a step computes at least: two operations for each parameter and row forward, four backward."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return 6.0 * parameters * plan.batch_size / context.size / (_FLOPS_PER_SECOND * context.threads)


def _channels_last(module: nn.Module, schema: DataSchema, config: TrainConfig, backend: Backend) -> bool:
    """Agree with all ranks on how images lie in memory: as rank 0 has found on its device. Collective."""
    if not may_gain(module):
        return False
    found = torch.zeros(1)
    if not backend.rank:
        device = device_of(config)
        found[0] = trains_channels_last(module, schema, device, Precision(config.precision, device).autocast)
    found = found.to(config.device)
    backend.broadcast(found)
    return bool(found)


def _to_bytes(state: Mapping[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()
