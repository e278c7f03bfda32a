"""Entries of a cache: whole or not there, in use or not, old or not; and two programs that use one folder at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from sparkdl.data import clear_cache
from sparkdl.data.cache import store
from sparkdl.storage import leases, urls

KEY = store.key_of({"schema": []})
ROWS = {"checksum": "3-00000000000000ff", "files": {"part": 4}}
SUM = str(ROWS["checksum"])


def write(base: Path, *, whole: bool = True, holder: str = "writer") -> str:
    name = store.new_entry(KEY)
    store.begin(str(base), name, holder)
    (base / name / "part").write_bytes(b"rows")
    if whole:
        store.publish(str(base), name, ROWS)
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
    assert store.key_of({"a": 1, "b": 2}) == store.key_of({"b": 2, "a": 1}) != store.key_of({"a": 1, "b": 3})


def test_whole_entries_of_the_same_rows_are_taken(tmp_path: Path) -> None:
    assert store.look(str(tmp_path / "none"), KEY) == []
    name = write(tmp_path)
    assert store.look(str(tmp_path), KEY) == [name]
    assert store.look(str(tmp_path), store.key_of({"schema": [1]})) == []
    assert store.take(str(tmp_path), name, "4-00000000000000ff", "other") is None
    assert store.take(str(tmp_path), name, SUM, "other") == ROWS
    assert (tmp_path / name).stat().st_mode & 0o77 == 0
    store.leave(str(tmp_path), name, "writer")
    assert leases.held_until(str(tmp_path / name)) > time.time()
    store.leave(str(tmp_path), name, "other")
    assert leases.held_until(str(tmp_path / name)) == 0


@pytest.mark.parametrize("change", ["missing", "short"])
def test_an_entry_whose_files_are_not_all_there_is_not_taken(tmp_path: Path, change: str) -> None:
    name = write(tmp_path)
    if change == "missing":
        (tmp_path / name / "part").unlink()
    else:
        (tmp_path / name / "part").write_bytes(b"row")
    assert store.take(str(tmp_path), name, SUM, "reader") is None
    assert not list((tmp_path / name).glob("lease-reader*"))


def test_what_a_dead_writer_left_is_never_read_and_goes_with_its_lease(tmp_path: Path, later: Any) -> None:
    name = write(tmp_path, whole=False)
    assert store.look(str(tmp_path), KEY) == []
    assert store.take(str(tmp_path), name, SUM, "reader") is None
    assert clear_cache(str(tmp_path)) == []
    later(leases.SECONDS + 1)
    assert store.look(str(tmp_path), KEY) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_maker_died_before_it_had_a_lease_goes_in_time(tmp_path: Path, later: Any) -> None:
    name = store.new_entry(KEY)
    (tmp_path / name).mkdir()
    assert clear_cache(str(tmp_path)) == []
    later(leases.SECONDS / 2)
    assert clear_cache(str(tmp_path)) == []
    later(leases.SECONDS / 2 + 1)
    assert clear_cache(str(tmp_path)) == [name]
    assert list(tmp_path.iterdir()) == []


def test_an_entry_that_was_found_while_it_was_empty_is_like_others_once_it_is_whole(tmp_path: Path) -> None:
    name = store.new_entry(KEY)
    (tmp_path / name).mkdir()
    assert clear_cache(str(tmp_path)) == []
    store.begin(str(tmp_path), name, "writer")
    (tmp_path / name / "part").write_bytes(b"rows")
    assert clear_cache(str(tmp_path)) == []
    store.publish(str(tmp_path), name, ROWS)
    assert clear_cache(str(tmp_path)) == []
    store.leave(str(tmp_path), name, "writer")
    assert clear_cache(str(tmp_path), older_than=60) == []
    assert clear_cache(str(tmp_path)) == [name]


def test_entries_are_kept_for_a_week_after_their_last_use(tmp_path: Path, later: Any) -> None:
    name = write(tmp_path)
    store.leave(str(tmp_path), name, "writer")
    for _ in range(2):
        later(store.KEEP_SECONDS - 60)
        assert store.look(str(tmp_path), KEY) == [name]
        assert store.take(str(tmp_path), name, SUM, "reader") is not None
        store.leave(str(tmp_path), name, "reader")
    later(store.KEEP_SECONDS + 60)
    assert store.look(str(tmp_path), KEY) == []
    assert list(tmp_path.iterdir()) == []


def test_a_clean_up_on_request_leaves_what_is_in_use_and_what_is_not_ours(tmp_path: Path, later: Any) -> None:
    used, free = write(tmp_path), write(tmp_path)
    (tmp_path / "sparkdl-0123").mkdir()
    store.leave(str(tmp_path), free, "writer")
    later(100)
    assert clear_cache(tmp_path.as_uri(), older_than=200) == []
    assert clear_cache(tmp_path.as_uri(), older_than=50) == [free]
    assert clear_cache(str(tmp_path)) == []
    # A reader that died: its lease ends by itself.
    later(leases.SECONDS)
    assert clear_cache(str(tmp_path)) == [used]
    assert [path.name for path in tmp_path.iterdir()] == ["sparkdl-0123"]


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_a_day_takes_away_nothing_that_is_in_use_or_was(
    tmp_path: Path, later: Any, jump: float
) -> None:
    used, left = write(tmp_path), write(tmp_path)
    store.leave(str(tmp_path), left, "writer")
    later(jump)
    assert store.look(str(tmp_path), KEY) == sorted([used, left])
    assert store.take(str(tmp_path), left, SUM, "reader") == ROWS
    store.leave(str(tmp_path), left, "reader")
    later(-jump)
    assert store.look(str(tmp_path), KEY) == sorted([used, left])
    # On request all goes that nobody uses, also what was used at a time that is still to come.
    assert clear_cache(str(tmp_path)) == [left]
    assert store.look(str(tmp_path), KEY) == [used]


def test_a_lease_taken_during_a_clean_up_saves_the_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(tmp_path)
    store.leave(str(tmp_path), name, "writer")
    expired = store._expired

    def taken_meanwhile(*arguments: Any) -> bool:
        found = expired(*arguments)
        assert store.take(str(tmp_path), name, SUM, "reader") is not None
        return found

    monkeypatch.setattr(store, "_expired", taken_meanwhile)
    assert clear_cache(str(tmp_path)) == []
    assert store.take(str(tmp_path), name, SUM, "another") is not None


def test_many_programs_at_once_never_see_half_an_entry(tmp_path: Path) -> None:
    wrong: list[object] = []

    def program(number: int) -> None:
        try:
            for turn in range(15):
                name = write(tmp_path, holder=f"{number}-{turn}")
                store.leave(str(tmp_path), name, f"{number}-{turn}")
                for other in store.look(str(tmp_path), KEY):
                    if store.take(str(tmp_path), other, SUM, f"{number}-{turn}") is not None:
                        if (tmp_path / other / "part").read_bytes() != b"rows":
                            wrong.append(other)
                        store.leave(str(tmp_path), other, f"{number}-{turn}")
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


PROGRAM = """
import sys, time
from pathlib import Path
from sparkdl.data import clear_cache
from sparkdl.data.cache import store as cache

base, number, programs = sys.argv[1], sys.argv[2], int(sys.argv[3])
key, rows = cache.key_of({"schema": []}), number.encode() * 100_000
Path(base, f"here-{number}").touch()
while len(list(Path(base).glob("here-*"))) < programs:
    time.sleep(0.001)
taken = 0
for turn in range(25):
    name, holder = cache.new_entry(key), f"{number}-{turn}"
    cache.begin(base, name, holder)
    Path(base, name, "part").write_bytes(rows)
    cache.publish(base, name, {"checksum": "sum", "files": {"part": len(rows)}, "rows": number})
    cache.leave(base, name, holder)
    for other in cache.look(base, key):
        content = cache.take(base, other, "sum", holder)
        if content is not None:
            assert Path(base, other, "part").read_bytes() == content["rows"].encode() * 100_000
            taken += other != name
            cache.leave(base, other, holder)
    clear_cache(base, older_than=0.02)
print(taken)
"""


def test_processes_that_write_read_and_clean_up_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    programs = [
        subprocess.Popen([*command, str(n), "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    said = [program.communicate(timeout=300) for program in programs]
    assert [program.returncode for program in programs] == [0, 0, 0], said
    # They did meet: each other's entries were read.
    assert sum(int(out) for out, _ in said) > 0
    clear_cache(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"here-0", "here-1", "here-2"}


ENDLESS = """
import itertools, sys
from pathlib import Path
from sparkdl.data.cache import store as cache
from sparkdl.storage import urls

base = sys.argv[1]
key = cache.key_of({"schema": []})
for turn in itertools.count():
    name = cache.new_entry(key)
    cache.begin(base, name, "writer")
    for part in ("one", "two"):
        with urls.write_atomic(f"{base}/{name}/{part}") as stream:
            for _ in range(8):
                stream.write(bytes([turn % 256]) * 100_000)
    print(turn, flush=True)
    cache.publish(base, name, {"checksum": "sum", "files": {"one": 800_000, "two": 800_000}, "turn": turn})
    cache.leave(base, name, "writer")
"""


def test_a_writer_killed_at_any_moment_leaves_nothing_that_is_taken_for_whole(tmp_path: Path, later: Any) -> None:
    for turns in range(6):
        with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(turns + 1):
                assert writer.stdout.readline()
            # Somewhere between the last files of one entry and those of the next.
            time.sleep(0.0007 * turns)
            writer.kill()
    names = {path.name for path in tmp_path.iterdir()}
    whole = set(store.look(str(tmp_path), KEY))
    for name in names:
        content = store.take(str(tmp_path), name, "sum", "reader")
        if content is not None:
            assert {(tmp_path / name / part).read_bytes() for part in ("one", "two")} == {
                bytes([content["turn"] % 256]) * 800_000
            }
            store.leave(str(tmp_path), name, "reader")
        assert (content is not None) == (name in whole)
    assert len(whole) >= 15
    later(leases.SECONDS + store.KEEP_SECONDS)
    assert store.look(str(tmp_path), KEY) == []
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_folders_keeps_entries_too(tmp_path: Path, later: Any) -> None:
    base = f"memory://cache{tmp_path}"
    name = store.new_entry(KEY)
    store.begin(base, name, "writer")
    assert store.look(base, KEY) == []
    with urls.write_atomic(urls.join(base, name, "part")) as stream:
        stream.write(b"rows")
    store.publish(base, name, ROWS)
    assert store.look(base, KEY) == [name]
    assert store.take(base, name, SUM, "reader") == ROWS
    store.leave(base, name, "writer")
    assert clear_cache(base, older_than=10) == []
    later(store.KEEP_SECONDS + 1)
    assert store.look(base, KEY) == []
    assert urls.list_folder(base) == []


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"[]", b"{", b"[" * 100_000, b"null", b'{"checksum": 1}', b'{"files": 3}']
)
def test_a_damaged_manifest_is_no_entry_and_stops_nobody(text: bytes, tmp_path: Path) -> None:
    name = write(tmp_path)
    store.leave(str(tmp_path), name, "writer")
    (tmp_path / name / store.MANIFEST).write_bytes(text)
    assert store.take(str(tmp_path), name, SUM, "other") is None
    (tmp_path / name / store.MANIFEST).write_text(f'{{"checksum": "{SUM}", "files": []}}')
    assert store.take(str(tmp_path), name, SUM, "other") is None
    # Nobody can tell when it was used last, and nobody holds it.
    (tmp_path / name / "used.json").write_bytes(text)
    assert store.look(str(tmp_path), KEY) == []
    assert not (tmp_path / name).exists()


def test_a_manifest_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(tmp_path)
    monkeypatch.setattr(store, "_LONGEST", 10)
    assert store.take(str(tmp_path), name, SUM, "other") is None
