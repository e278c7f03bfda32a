"""The process that fits for Scala: what a program's names refer to."""

from __future__ import annotations

import pytest

from sparkdl.bridge import fitting
from sparkdl.errors import SettingError
from sparkdl.network import registry


def test_a_class_by_the_name_of_the_package_that_hands_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    assert fitting._register(["torch.nn:Linear"]) == {"torch.nn:Linear": "torch.nn.modules.linear:Linear"}


def test_a_name_that_cannot_be_imported() -> None:
    with pytest.raises(SettingError, match=r"^'torch\.nn:Nothing' cannot be imported by the driver's Python"):
        fitting._register(["torch.nn:Nothing"])
