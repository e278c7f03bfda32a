"""Checkpoints of a loop of one's own."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from sparkdl.errors import PersistenceError, SettingError
from sparkdl.train import Checkpoint


def parts(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    network = nn.Linear(3, 2)
    return network, torch.optim.Adam(network.parameters(), lr=0.1)


def step(network: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    optimizer.zero_grad()
    network(torch.full((4, 3), float(number))).square().mean().backward()
    optimizer.step()


def test_a_loop_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, optimizer = parts(1)
    for number in range(1, 7):
        step(whole, optimizer, number)
    network, optimizer = parts(1)
    with Checkpoint(str(tmp_path), keep=2) as checkpoint:
        assert checkpoint.restore(network=network, optimizer=optimizer) == 0
        for number in range(1, 5):
            step(network, optimizer, number)
            checkpoint.save(number, network=network, optimizer=optimizer, seen=[number, "rows"])
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["3", "4"]
    network, optimizer = parts(2)
    checkpoint = Checkpoint(str(tmp_path))
    assert checkpoint.restore(network=network, optimizer=optimizer) == 4
    assert checkpoint.values == {"seen": [4, "rows"]}
    for number in range(5, 7):
        step(network, optimizer, number)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), whole.parameters(), strict=True))
    assert checkpoint.restore(step=3) == 3


def test_only_rank_0_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with Checkpoint(str(tmp_path)) as checkpoint:
        checkpoint.save(1, value=3)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    network, _ = parts(1)
    for keep in (0, "3", True):
        with pytest.raises(SettingError, match="invalid keep="):
            Checkpoint(str(tmp_path), keep=keep)  # type: ignore[arg-type]
    with Checkpoint(str(tmp_path)) as checkpoint:
        with pytest.raises(SettingError, match="invalid step=-1: expected an integer >= 0"):
            checkpoint.save(-1, network=network)
        with pytest.raises(PersistenceError, match=r"state\.odd is of type object"):
            checkpoint.save(1, odd=object())
        checkpoint.save(1, network=network)
    with pytest.raises(PersistenceError, match=r"step 1 in .* has no 'optimizer': it has network"):
        Checkpoint(str(tmp_path)).restore(optimizer=network)
    with pytest.raises(PersistenceError, match="the checkpoint of step 9 in"):
        Checkpoint(str(tmp_path)).restore(step=9, network=network)
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="there is a file in its way, choose a folder"):
        Checkpoint(str(tmp_path / "file")).restore(network=network)


def test_a_damaged_one_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network, _ = parts(1)
    with Checkpoint(str(tmp_path)) as checkpoint:
        checkpoint.save(1, network=network)
        checkpoint.save(2, network=network)
    (tmp_path / "step-000000000002" / "state.safetensors").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert Checkpoint(str(tmp_path)).restore(network=network) == 1
    assert "the checkpoint of step 2 is passed over: state.safetensors has not" in caplog.text


def test_a_folder_that_is_away_for_a_while(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network, _ = parts(1)
    folder = tmp_path / "store"
    folder.touch()
    with caplog.at_level(logging.WARNING), Checkpoint(str(folder)) as checkpoint:
        checkpoint.save(1, network=network)
        checkpoint.close()
        assert caplog.text.count("a checkpoint could not be written") == 1
        folder.unlink()
        checkpoint.save(2, network=network)
    assert Checkpoint(str(folder)).restore(network=network) == 2
