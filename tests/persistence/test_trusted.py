"""Trust is given to a block, a thread, or a process, and ends with it."""

from __future__ import annotations

import threading

import pytest

from sparkdl.persistence import is_trusted, trusted


def test_trust_is_for_a_block_and_its_thread() -> None:
    elsewhere: list[bool] = []
    assert not is_trusted()
    with trusted():
        thread = threading.Thread(target=lambda: elsewhere.append(is_trusted()))
        thread.start()
        thread.join(10)
        assert is_trusted()
    assert not is_trusted()
    assert elsewhere == [False]


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("true", False), ("", False)])
def test_only_1_trusts_a_process(value: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKDL_TRUSTED", value)
    assert is_trusted() is expected
