"""The networks of the benchmarks on GPUs, in plain torch: an MLP, a transformer encoder, ResNet-18 and ResNet-50.

Each function makes one with random weights; `rows` makes what goes into it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

COLUMNS, SIDE, TOKENS, WORDS, CLASSES = 50, 224, 512, 10_000, 1_000
"""Numbers of a row, height and width of an image, tokens of a text, words that there are, classes of images."""


def mlp(hidden: int = 512) -> nn.Module:
    """Return 50 numbers -> two layers of `hidden` -> 1 number."""
    return nn.Sequential(
        nn.Linear(COLUMNS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
    )


class Encoder(nn.Module):
    """(n, tokens) int64 -> words and places embedded -> layers of a transformer -> their mean -> (n, outputs).

    Parameters
    ----------
    width : int
        Of a token; a multiple of 64, the width of a head.
    layers, outputs : int
    """

    def __init__(self, width: int = 512, layers: int = 6, outputs: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        self.places = nn.Parameter(torch.randn(TOKENS, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, width // 64, 4 * width, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(width, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.words(tokens) + self.places[: tokens.shape[1]]).mean(1))


def encoder() -> nn.Module:
    """Return a transformer encoder of 6 layers of 512, for texts of 512 tokens."""
    return Encoder()


class Block(nn.Module):
    """Two 3x3 convolutions beside a short cut, as in ResNet-18 (He et al. 2015, arXiv:1512.03385)."""

    widens = 1

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *_convolution(before, width, 3, stride), nn.ReLU(inplace=True), *_convolution(width, width, 3)
        )
        self.short = _short(before, width * self.widens, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.path(x) + self.short(x))


class Bottleneck(Block):
    """1x1, 3x3 and 1x1 beside a short cut, as in ResNet-50; the stride is the 3x3's, as torchvision has it."""

    widens = 4

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__(before, width, stride)
        self.path = nn.Sequential(
            *_convolution(before, width, 1),
            nn.ReLU(inplace=True),
            *_convolution(width, width, 3, stride),
            nn.ReLU(inplace=True),
            *_convolution(width, width * self.widens, 1),
        )


class ResNet(nn.Module):
    """(n, 3, H, W) -> (n, classes).

    Parameters
    ----------
    block : type
        `Block` or `Bottleneck`.
    depths : sequence of int
        Blocks of each of the four stages.
    classes : int
    """

    def __init__(self, block: type[Block], depths: tuple[int, ...], classes: int = CLASSES) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_convolution(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        )
        blocks: list[nn.Module] = []
        before = 64
        for stage, depth in enumerate(depths):
            width = 64 << stage
            for index in range(depth):
                blocks.append(block(before, width, 2 if stage and not index else 1))
                before = width * block.widens
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def resnet18() -> nn.Module:
    """Return a ResNet-18 for images of any size, 1,000 classes."""
    return ResNet(Block, (2, 2, 2, 2))


def resnet50() -> nn.Module:
    """Return a ResNet-50 for images of any size, 1,000 classes."""
    return ResNet(Bottleneck, (3, 4, 6, 3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp,
    "encoder": encoder,
    "resnet18": resnet18,
    "resnet50": resnet50,
}
"""By the names that the tables have."""


def rows(name: str, count: int, seed: int = 0) -> Tensor:
    """Return random rows for one of `NETWORKS`: numbers in [0, 1], tokens (int64), images (uint8)."""
    generator = torch.Generator().manual_seed(seed)
    if name == "encoder":
        return torch.randint(WORDS, (count, TOKENS), generator=generator)
    if name == "mlp":
        return torch.rand(count, COLUMNS, generator=generator)
    return torch.randint(256, (count, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)


def _convolution(before: int, width: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, width, size, stride, size // 2, bias=False), nn.BatchNorm2d(width)]


def _short(before: int, width: int, stride: int) -> nn.Module:
    if before == width and stride == 1:
        return nn.Identity()
    return nn.Sequential(*_convolution(before, width, 1, stride))
