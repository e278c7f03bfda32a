"""What is said where a step needs more memory than there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sparkdl.blame import in_a_line, out_of_memory
from sparkdl.errors import SettingError
from sparkdl.train.config import TrainConfig


@contextmanager
def out_of_memory_explained(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Raise SettingError, which names the Params that make a step smaller, where memory runs out inside."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        where = "the GPU" if device.type == "cuda" else "this host"
        raise SettingError(
            f"the memory of {where} is too small for a step: lower batchSize, or raise accumulationSteps (now "
            f"{config.accumulation_steps}), the parts in which a step is computed ({in_a_line(error)})"
        ) from error
