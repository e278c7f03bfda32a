"""`cnn`: convolutions with pooling, then fully connected layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sparkdl.errors import NetworkError, invalid
from sparkdl.nn.layers import checked_dropout, dense_layers, output_size, whole_number, whole_numbers
from sparkdl.nn.sized import SizedModule

POOLED = 8
"""Rows and columns before the fully connected layers: all that two convolutions leave of 32x32 images."""


class CNN(SizedModule):
    """3x3 convolutions, each with ReLU and 2x2 max pooling while the image has two rows and columns, then an MLP.

    Parameters
    ----------
    shape : sequence of three int
        Channels, height and width. Inputs of any other shape with as many numbers are reshaped to it.
    outputs : int
        Width of the output, (n, outputs).
    channels : sequence of int
        Of the convolutions.
    hidden : sequence of int
        Widths of the fully connected layers before the output.
    dropout : float
        Share of their units to drop while training, in [0, 1).
    pooled : int, optional
        Rows and columns to which the average of their neighbours brings what the convolutions leave, where there are
        more: the first fully connected layer does not grow with the image then. None: all of them are kept. An
        estimator gives `POOLED` where moduleParams do not say otherwise.

    Raises
    ------
    NetworkError
        If a value cannot work.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        channels: Sequence[int] = (16, 32),
        hidden: Sequence[int] = (64,),
        dropout: float = 0.0,
        pooled: int | None = None,
    ) -> None:
        super().__init__()
        self.shape = _image_shape(shape)
        depth, height, width = self.shape
        layers: list[nn.Module] = []
        for following in whole_numbers("channels", channels):
            layers += [nn.Conv2d(depth, following, 3, padding=1), nn.ReLU()]
            depth = following
            if height >= 2 and width >= 2:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
        most = max(height, width) if pooled is None else whole_number("pooled", pooled)
        if most < max(height, width):
            height, width = min(height, most), min(width, most)
            layers.append(nn.AdaptiveAvgPool2d((height, width)))
        self.convolutions = nn.Sequential(*layers)
        self.layers = nn.Sequential(
            *dense_layers(
                depth * height * width,
                whole_number("outputs", outputs),
                whole_numbers("hidden", hidden),
                checked_dropout(dropout),
                "relu",
            )
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return (n, outputs) for (n, c, h, w), or for (n, ...) with as many numbers a row."""
        if tuple(image.shape[1:]) != self.shape:
            if math.prod(image.shape[1:]) != math.prod(self.shape):
                raise NetworkError(
                    f"cnn was made for images of the shape {self.shape}, it got rows of {tuple(image.shape[1:])}"
                )
            image = image.reshape(len(image), *self.shape)
        if not image.is_floating_point():
            image = image.to(next(self.parameters()).dtype)
        output: torch.Tensor = self.layers(self.convolutions(image).flatten(1))
        return output

    @classmethod
    def sizes(
        cls, input_shapes: Sequence[tuple[int, ...]], outputs: int | None, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return shape, outputs and pooled. The data has one input, of (c, h, w), (h, w), or (k,) numbers a row.

        Rows of k numbers need a shape in `params`, unless k is the area of a square image of one channel.
        """
        if len(input_shapes) != 1:
            raise NetworkError(f"cnn takes one input, the data has {len(input_shapes)}: give one column of images")
        row = tuple(input_shapes[0])
        shape = _image_shape(params["shape"]) if "shape" in params else _guessed(row)
        if math.prod(shape) != math.prod(row):
            raise NetworkError(f"moduleParams['shape']={list(shape)} does not fit rows of the shape {row}")
        return {"shape": list(shape), "outputs": output_size("cnn", outputs, params), "pooled": POOLED}


def _image_shape(shape: Any) -> tuple[int, int, int]:
    sizes = whole_numbers("shape", shape)
    if len(sizes) != 3:
        raise NetworkError(invalid("shape", list(sizes), "three integers: channels, height and width"))
    return sizes[0], sizes[1], sizes[2]


def _guessed(row: tuple[int, ...]) -> tuple[int, int, int]:
    if len(row) == 3:
        return row[0], row[1], row[2]
    if len(row) == 2:
        return 1, row[0], row[1]
    side = math.isqrt(math.prod(row))
    if len(row) == 1 and side * side == row[0]:
        return 1, side, side
    raise NetworkError(
        f"cnn cannot see an image in rows of the shape {row}: give moduleParams['shape'] = [channels, height, width]"
    )
