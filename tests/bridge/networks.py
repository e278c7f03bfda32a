"""A network that the tests of Scala name, from this package on the path of all Pythons."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn


class Marking(nn.Module):
    """Writes the number of each process that it runs in into a file.

    Parameters
    ----------
    path : str
        The file, with one line for each process.
    inputs, outputs : int
    """

    def __init__(self, path: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.path = path
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mark = Path(f"{self.path}.{os.getpid()}")
        if not mark.exists():
            mark.touch()
        return self.layer(x)
