"""What is said where the device ends a training, and not Python: too little memory, an index that points nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sparkdl.blame import in_a_line, out_of_memory
from sparkdl.errors import NetworkError, SettingError
from sparkdl.train.config import TrainConfig


@contextmanager
def device_errors_explained(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Raise what a user can act upon in place of a device's own error.

    Raises
    ------
    SettingError
        Memory ran out: it names the Params that make a step smaller.
    NetworkError
        A kernel found an index that points nowhere, which a GPU does not tell from other failed assertions.
    """
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            where = "the GPU" if device.type == "cuda" else "this host"
            raise SettingError(
                f"the memory of {where} is too small for a step: lower batchSize, or raise accumulationSteps (now "
                f"{config.accumulation_steps}), the parts in which a step is computed ({in_a_line(error)})"
            ) from error
        if "device-side assert" in str(error):
            raise NetworkError(
                "an index that the network or its loss has computed on the GPU points nowhere, or a number is outside "
                f"of what a layer takes: device='cpu' shows which one ({in_a_line(error)})"
            ) from error
        raise
