"""Kept wheels: found by what they were built for, and never half there."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from sparkdl.commands.build_horovod_tools import Torch
from sparkdl.commands.build_horovod_wheel import cached, key_of, store


def test_the_key_tells_apart_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(version: str = "2.13.0+cu130", kind: str = "gloo") -> str:
        return key_of(Torch(version, None), kind)

    keys = {key(), key("2.13.0+cpu"), key("2.12.0+cu130"), key(kind="nccl")}
    monkeypatch.setattr(sys.implementation, "cache_tag", "cpython-399")
    keys.add(key())
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.99"))
    keys.add(key())
    assert len(keys) == 6
    assert all("/" not in one and one.startswith("horovod0.28.1-torch2.1") for one in keys)


def test_readers_see_a_whole_wheel_while_others_write(tmp_path: Path) -> None:
    contents = [bytes([i]) * 2_000_000 for i in range(4)]
    wheels = []
    for index, content in enumerate(contents):
        wheel = tmp_path / str(index) / "horovod-0.28.1-py3-none-any.whl"
        wheel.parent.mkdir()
        wheel.write_bytes(content)
        wheels.append(wheel)
    cache = tmp_path / "cache"
    assert cached(cache, "key") is None
    store(wheels[0], cache, "key")
    writers = [threading.Thread(target=lambda w=w: [store(w, cache, "key") for _ in range(20)]) for w in wheels]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        found = cached(cache, "key")
        assert found is not None
        seen.add(found.read_bytes())
    for writer in writers:
        writer.join()
    assert seen <= set(contents)
    assert [path.name for path in (cache / "key").iterdir()] == ["horovod-0.28.1-py3-none-any.whl"]
