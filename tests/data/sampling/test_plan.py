"""The plan over random layouts: every row once, the same steps and the same rows for any number of ranks."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkdl.data.sampling.plan import Plan, RowRange
from sparkdl.errors import SettingError

layouts = st.lists(st.lists(st.integers(0, 40), max_size=6).map(tuple), max_size=6).map(tuple)


@st.composite
def plans(draw: st.DrawFn, **fixed: object) -> Plan:
    values = {
        "row_groups": draw(layouts),
        "batch_size": draw(st.integers(1, 70)),
        "seed": draw(st.integers(-(2**63), 2**63)),
        "canonical_shards": draw(st.integers(1, 16)),
        "shuffle": draw(st.booleans()),
        "window": draw(st.integers(1, 200)),
        "drop_last": draw(st.booleans()),
        "steps_per_epoch": draw(st.none() | st.integers(1, 10)),
    }
    return Plan(**{**values, **fixed})  # type: ignore[arg-type]


def rows_of(ranges: list[RowRange]) -> list[tuple[int, int, int]]:
    return [(r.file, r.row_group, row) for r in ranges for row in range(r.start, r.stop)]


@settings(max_examples=150, deadline=None)
@given(plans(), st.integers(0, 5))
def test_each_shard_has_its_rows_and_no_row_is_in_two(plan: Plan, epoch: int) -> None:
    shards = range(plan.canonical_shards)
    held = [rows_of(list(plan.shard_ranges(epoch, shard))) for shard in shards]
    for shard in shards:
        assert len(held[shard]) == sum(plan.share(step, shard) for step in range(plan.steps))
    every = Counter(row for rows in held for row in rows)
    assert set(every.values()) <= {1}
    assert every.total() == plan.rows
    if not plan.drop_last and plan.steps_per_epoch is None:
        assert plan.rows == plan.total_rows == sum(map(sum, plan.row_groups))


@settings(max_examples=150, deadline=None)
@given(plans())
def test_shares_of_a_step_are_its_rows_and_nearly_equal(plan: Plan) -> None:
    given_rows = [0] * plan.canonical_shards
    for step in range(plan.steps):
        assert [plan.given(step, shard) for shard in range(plan.canonical_shards)] == given_rows
        shares = plan.shares(step)
        assert sum(shares) == plan.step_rows(step) >= 1
        assert max(shares) - min(shares) <= 1
        for shard, share in enumerate(shares):
            for row in range(given_rows[shard], given_rows[shard] + share):
                assert plan.step_of(shard, row) == step
            given_rows[shard] += share
        assert max(given_rows) - min(given_rows) <= 1
    assert sum(given_rows) == plan.rows


@settings(max_examples=100, deadline=None)
@given(plans(shuffle=True), st.data())
def test_windows_are_the_shards_rows_and_can_be_entered_anywhere(plan: Plan, data: st.DataObject) -> None:
    shard = data.draw(st.integers(0, plan.canonical_shards - 1))
    windows = list(plan.windows(1, shard))
    assert [w.number for w in windows] == list(range(len(windows)))
    inside = [row for w in windows for row in rows_of(list(w.ranges))]
    assert inside == rows_of(list(plan.shard_ranges(1, shard)))
    most = max(1, plan.window // plan.canonical_shards)
    for window in windows:
        assert window.rows == sum(r.stop - r.start for r in window.ranges) < 3 * most
        assert window.rows <= plan.most_window_rows
        assert sorted(plan.row_order(1, shard, window)) == list(range(window.rows))
    row = data.draw(st.integers(0, len(inside)))
    assert list(plan.windows(1, shard, row)) == [w for w in windows if w.first + w.rows > row]


@settings(max_examples=100, deadline=None)
@given(plans(shuffle=False))
def test_without_shuffling_a_step_is_the_next_rows_in_file_order(plan: Plan) -> None:
    in_order = rows_of([RowRange(f, g, 0, n) for f, groups in enumerate(plan.row_groups) for g, n in enumerate(groups)])
    for step in range(plan.steps):
        start = step * plan.batch_size
        pieces = plan.pieces(step)
        assert pieces[0][0] == start
        assert pieces[-1][1] == start + plan.step_rows(step)
        for low, high in pieces:
            groups = list(plan.groups_between(low, high))
            assert in_order[low:high] == [row for row in rows_of([g for _, g in groups]) if row in in_order[low:high]]
            assert all(in_order[first] == (g.file, g.row_group, 0) for first, g in groups)


def test_every_epoch_has_another_order_and_the_same_seed_the_same() -> None:
    layout = ((50,) * 20,) * 2
    plan, again = Plan(layout, 32, seed=7), Plan(layout, 32, seed=7)
    assert list(plan.shard_ranges(3, 2)) == list(again.shard_ranges(3, 2))
    assert list(plan.shard_ranges(3, 2)) != list(plan.shard_ranges(4, 2))
    assert list(plan.shard_ranges(3, 2)) != list(Plan(layout, 32, seed=8).shard_ranges(3, 2))
    window = next(plan.windows(0, 0))
    assert list(plan.row_order(0, 0, window)) != list(plan.row_order(1, 0, window))
    assert list(plan.row_order(0, 0, window)) != list(plan.row_order(0, 1, window))


def test_a_cut_epoch_shows_all_rows_over_the_epochs() -> None:
    plan = Plan(((100,),), batch_size=10, steps_per_epoch=2)
    seen = {row for epoch in range(40) for s in range(8) for row in rows_of(list(plan.shard_ranges(epoch, s)))}
    assert len(seen) > 95


def test_a_hundred_thousand_steps_and_row_groups_are_planned_in_seconds() -> None:
    plan = Plan(tuple((64,) * 100 for _ in range(1000)), batch_size=64)
    started = time.process_time()
    assert plan.steps == 100_000
    assert sum(sum(plan.shares(step)) for step in range(plan.steps)) == plan.total_rows
    assert sum(r.stop - r.start for shard in range(8) for r in plan.shard_ranges(0, shard)) == plan.total_rows
    assert time.process_time() - started < 10


@pytest.mark.parametrize("name", ["batch_size", "canonical_shards", "window"])
def test_a_size_below_one_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        Plan(**{"row_groups": ((1,),), "batch_size": 1, name: 0})  # type: ignore[arg-type]
