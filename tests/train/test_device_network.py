"""The network on its device: in which order images lie in memory, from the loader's bytes to the gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.data.loading.loader import Batch
from sparkdl.nn.convolution import CNN
from sparkdl.train.config import TrainConfig
from sparkdl.train.device_network import DeviceNetwork
from sparkdl.train.loop import FitResult, fit

CPU = torch.device("cpu")
LAST = torch.channels_last


class Watching(CNN):
    """Notes how its images and weights lie in memory."""

    seen: list[tuple[bool, bool]]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        weights = self.convolutions[3].weight
        self.seen.append((image.is_contiguous(memory_format=LAST), weights.is_contiguous(memory_format=LAST)))
        return super().forward(image)


def train(memory_feed: Any, **settings: Any) -> tuple[FitResult, Watching]:
    torch.manual_seed(1)
    network = Watching((3, 8, 8), 2, dropout=0.2)
    network.seen = []
    images, labels = torch.rand(20, 3, 8, 8), torch.arange(20)[:, None] % 2
    config = TrainConfig(
        task="classification", losses=("cross_entropy",), num_classes=2, epochs=2, gradient_clip_norm=1.0, **settings
    )
    feed = memory_feed(images, labels)
    return fit(network, config, feed, feed, SoloBackend()), network


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_training_with_channels_last_is_the_same_one(memory_feed: Any, optimizer: str) -> None:
    plain, one = train(memory_feed, optimizer=optimizer)
    last, other = train(memory_feed, optimizer=optimizer, channels_last=True)
    assert set(one.seen) == {(False, False)}
    assert set(other.seen) == {(True, True)}
    for name, value in plain.state.items():
        torch.testing.assert_close(last.state[name], value, rtol=1e-4, atol=1e-5)
        assert last.state[name].is_contiguous()
    assert [row["val_loss"] for row in last.history] == pytest.approx([row["val_loss"] for row in plain.history], 1e-4)


@pytest.mark.parametrize("last", [False, True])
def test_bytes_of_images_are_put_in_another_order_only_where_the_network_wants_it(last: bool) -> None:
    pixels = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3).permute(0, 3, 1, 2)
    numbers = torch.rand(2, 6)
    batch = Batch((pixels, numbers), (torch.zeros(2, 1),), None, 2, images=(0,))
    network = DeviceNetwork(nn.Identity(), TrainConfig(channels_last=last), CPU)
    (given,) = network.on_device(iter([batch]))
    images, others = given.inputs
    torch.testing.assert_close(images, pixels.float() / 255)
    assert images.is_contiguous(memory_format=LAST if last else torch.contiguous_format)
    assert others.data_ptr() == numbers.data_ptr()
