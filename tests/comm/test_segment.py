from __future__ import annotations

from sparkdl.comm.segment import has_room


def test_there_is_room_for_little_and_none_for_more_than_any_machine_has() -> None:
    assert has_room(1)
    assert not has_room(1 << 62)
