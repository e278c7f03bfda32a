"""The network on its device: in which order images lie in memory, from the loader's bytes to the gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sparkdl.comm.solo import SoloBackend
from sparkdl.data.loading.loader import Batch
from sparkdl.errors import SettingError
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


class NoProduct(nn.Module):
    """Raises as torch does on a GPU, where it has no product of sparse tensors of 16 bits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("\"addmm_sparse_cuda\" not implemented for 'BFloat16'")


def test_products_of_sparse_tensors_that_torch_lacks_are_a_matter_of_the_precision() -> None:
    sparse = torch.rand(2, 4).to_sparse()
    with pytest.raises(SettingError, match="precision='bf16' with sparseTensors=True: .*set precision to 'float32'"):
        DeviceNetwork(NoProduct(), TrainConfig(precision="bf16"), CPU).forward((sparse,))
    for inputs, precision in (((torch.rand(2, 4),), "bf16"), ((sparse,), "float32")):
        with pytest.raises(NotImplementedError):
            DeviceNetwork(NoProduct(), TrainConfig(precision=precision), CPU).forward(inputs)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_sparse_tensors_are_learned_from(precision: str) -> None:
    # On CPUs torch has these products.
    torch.manual_seed(0)
    network = DeviceNetwork(nn.Linear(4, 1), TrainConfig(precision=precision), CPU)
    (output,) = network.forward((torch.rand(6, 4).to_sparse(),))
    output.sum().backward()
    assert output.dtype == network.module.weight.grad.dtype == torch.float32


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
