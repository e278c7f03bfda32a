"""Entries of a cache: whole or not there, in use or not, old or not; and two programs that use one folder at once."""

from __future__ import annotations

import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from sparkdl.data import cache, clear_cache
from sparkdl.storage import leases, urls

KEY = cache.key_of({"schema": []})
ROWS = {"checksum": "3-00000000000000ff", "files": {"part": 4}}
SUM = str(ROWS["checksum"])


def write(base: Path, *, whole: bool = True, holder: str = "writer") -> str:
    name = cache.new_entry(KEY)
    cache.begin(str(base), name, holder)
    (base / name / "part").write_bytes(b"rows")
    if whole:
        cache.publish(str(base), name, ROWS)
    return name


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let so many seconds pass."""
    now, passed = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: now() + passed[0])

    def let_pass(seconds: float) -> None:
        passed[0] += seconds

    return let_pass


def test_the_key_depends_on_what_is_asked_for() -> None:
    assert cache.key_of({"a": 1, "b": 2}) == cache.key_of({"b": 2, "a": 1}) != cache.key_of({"a": 1, "b": 3})


def test_whole_entries_of_the_same_rows_are_taken(tmp_path: Path) -> None:
    assert cache.look(str(tmp_path / "none"), KEY) == []
    name = write(tmp_path)
    assert cache.look(str(tmp_path), KEY) == [name]
    assert cache.look(str(tmp_path), cache.key_of({"schema": [1]})) == []
    assert cache.take(str(tmp_path), name, "4-00000000000000ff", "other") is None
    assert cache.take(str(tmp_path), name, SUM, "other") == ROWS
    assert (tmp_path / name).stat().st_mode & 0o77 == 0
    cache.leave(str(tmp_path), name, "writer")
    assert leases.held_until(str(tmp_path / name)) > time.time()
    cache.leave(str(tmp_path), name, "other")
    assert leases.held_until(str(tmp_path / name)) == 0


@pytest.mark.parametrize("change", ["missing", "short"])
def test_an_entry_whose_files_are_not_all_there_is_not_taken(tmp_path: Path, change: str) -> None:
    name = write(tmp_path)
    if change == "missing":
        (tmp_path / name / "part").unlink()
    else:
        (tmp_path / name / "part").write_bytes(b"row")
    assert cache.take(str(tmp_path), name, SUM, "reader") is None
    assert not list((tmp_path / name).glob("lease-reader*"))


def test_what_a_dead_writer_left_is_never_read_and_goes_with_its_lease(tmp_path: Path, later: Any) -> None:
    name = write(tmp_path, whole=False)
    assert cache.look(str(tmp_path), KEY) == []
    assert cache.take(str(tmp_path), name, SUM, "reader") is None
    assert clear_cache(str(tmp_path)) == []
    later(leases.SECONDS + 1)
    assert cache.look(str(tmp_path), KEY) == []
    assert list(tmp_path.iterdir()) == []


def test_entries_are_kept_for_a_week_after_their_last_use(tmp_path: Path, later: Any) -> None:
    name = write(tmp_path)
    cache.leave(str(tmp_path), name, "writer")
    for _ in range(2):
        later(cache.KEEP_SECONDS - 60)
        assert cache.look(str(tmp_path), KEY) == [name]
        assert cache.take(str(tmp_path), name, SUM, "reader") is not None
        cache.leave(str(tmp_path), name, "reader")
    later(cache.KEEP_SECONDS + 60)
    assert cache.look(str(tmp_path), KEY) == []
    assert list(tmp_path.iterdir()) == []


def test_a_clean_up_on_request_leaves_what_is_in_use_and_what_is_not_ours(tmp_path: Path, later: Any) -> None:
    used, free = write(tmp_path), write(tmp_path)
    (tmp_path / "sparkdl-0123").mkdir()
    cache.leave(str(tmp_path), free, "writer")
    later(100)
    assert clear_cache(tmp_path.as_uri(), older_than=200) == []
    assert clear_cache(tmp_path.as_uri(), older_than=50) == [free]
    assert clear_cache(str(tmp_path)) == []
    # A reader that died: its lease ends by itself.
    later(leases.SECONDS)
    assert clear_cache(str(tmp_path)) == [used]
    assert [path.name for path in tmp_path.iterdir()] == ["sparkdl-0123"]


def test_a_lease_taken_during_a_clean_up_saves_the_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(tmp_path)
    cache.leave(str(tmp_path), name, "writer")
    expired = cache._expired

    def taken_meanwhile(*arguments: Any) -> bool:
        found = expired(*arguments)
        assert cache.take(str(tmp_path), name, SUM, "reader") is not None
        return found

    monkeypatch.setattr(cache, "_expired", taken_meanwhile)
    assert clear_cache(str(tmp_path)) == []
    assert cache.take(str(tmp_path), name, SUM, "another") is not None


def test_many_programs_at_once_never_see_half_an_entry(tmp_path: Path) -> None:
    wrong: list[object] = []

    def program(number: int) -> None:
        try:
            for turn in range(15):
                name = write(tmp_path, holder=f"{number}-{turn}")
                cache.leave(str(tmp_path), name, f"{number}-{turn}")
                for other in cache.look(str(tmp_path), KEY):
                    if cache.take(str(tmp_path), other, SUM, f"{number}-{turn}") is not None:
                        if (tmp_path / other / "part").read_bytes() != b"rows":
                            wrong.append(other)
                        cache.leave(str(tmp_path), other, f"{number}-{turn}")
                clear_cache(str(tmp_path))
        except Exception:
            wrong.append(traceback.format_exc())

    threads = [threading.Thread(target=program, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    clear_cache(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_folders_keeps_entries_too(tmp_path: Path, later: Any) -> None:
    base = f"memory://cache{tmp_path}"
    name = cache.new_entry(KEY)
    cache.begin(base, name, "writer")
    assert cache.look(base, KEY) == []
    with urls.write_atomic(urls.join(base, name, "part")) as stream:
        stream.write(b"rows")
    cache.publish(base, name, ROWS)
    assert cache.look(base, KEY) == [name]
    assert cache.take(base, name, SUM, "reader") == ROWS
    cache.leave(base, name, "writer")
    assert clear_cache(base, older_than=10) == []
    later(cache.KEEP_SECONDS + 1)
    assert cache.look(base, KEY) == []
    assert urls.list_folder(base) == []
