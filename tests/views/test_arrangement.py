"""The block of problems: what stands in it, in which order, and what follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, key_of
from support.tracked_environments import ALL, fleet_of, gone, late, named, offline, online

from envwatch.fleet.acknowledgements import Ack
from envwatch.fleet.problems import is_old, is_problem
from envwatch.fleet.silences import silence_of_environments
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.arrangement import OrderInputs, arrange
from envwatch.views.table_view import Preset, View

NOTE = Ack(NOW, clean(""))
FLAPPING = replace(online("flap"), is_flapping=True)
DAY = 86_400


def test_problems_stand_in_a_block_newest_loss_first_then_gone_late_and_flapping() -> None:
    rows = [
        online("b"),
        FLAPPING,
        late("l1", 50),
        late("l2", 110),
        gone("g"),
        offline("o1", 9_000),
        offline("o2", 10),
        offline("old", DAY),
        online("A"),
        replace(gone("left"), since_at=ServerMs(NOW - 900_000)),
    ]
    arrangement = arrange(fleet_of(rows), View(), ALL, OrderInputs(NOW))
    names = [tracked.environment.name for tracked in arrangement.rows]
    assert names[: arrangement.problems] == ["o2", "o1", "g", "l2", "l1", "flap"]
    assert names[arrangement.problems :] == ["A", "b", "left", "old"]
    assert arrangement.old == 1


@pytest.mark.parametrize(("ago", "problems"), [(899_999, 1), (900_000, 0)])
def test_what_is_gone_is_a_problem_for_15_minutes(ago: float, problems: int) -> None:
    row = replace(gone("g"), since_at=ServerMs(NOW - ago))
    assert arrange(fleet_of([row, online("a")]), View(), ALL, OrderInputs(NOW)).problems == problems


def test_acknowledged_problems_come_last_in_the_block() -> None:
    rows = [offline("o1", 10), offline("o2", 20), late("l1"), late("l2", 110), online("on"), gone("g")]
    acks = {key_of(f"env-{name}"): NOTE for name in ("o1", "l2", "on")}
    for view, expected in (
        (View(), ["o2", "g", "l1", "o1", "l2", "on"]),
        (View(is_inverted=True), ["o2", "g", "l1", "o1", "l2", "on"]),
        (View(sort="name"), ["g", "l1", "l2", "o1", "o2", "on"]),
    ):
        arrangement = arrange(fleet_of(rows), view, ALL, OrderInputs(NOW, acks))
        assert [tracked.environment.name for tracked in arrangement.rows] == expected
        assert arrangement.problems == (0 if view.sort else 5)


def test_silenced_problems_come_with_the_acknowledged_ones_while_the_silence_holds() -> None:
    rows = [offline("o1", 10), offline("o2", 20), late("l1"), online("on")]
    silence = silence_of_environments(
        [key_of("env-o1"), key_of("env-on")], WallMs(NOW), timedelta(hours=1), note=clean(""), by=clean("ada")
    )
    silences, acks = {silence.id: silence}, {key_of("env-o2"): NOTE}
    for at, expected in (
        (NOW, ["l1", "o1", "o2", "on"]),
        (NOW + 3_599_999, ["l1", "o1", "o2", "on"]),
        (NOW + 3_600_000, ["o1", "l1", "o2", "on"]),
    ):
        arrangement = arrange(fleet_of(rows), View(), ALL, OrderInputs(at, acks, silences))
        assert [tracked.environment.name for tracked in arrangement.rows] == expected
        assert arrangement.problems == 3


ROWS = st.lists(
    st.builds(
        lambda name, kind: kind(name),
        st.sampled_from("abcdefghijkl"),
        st.sampled_from([online, late, offline, lambda name: offline(name, 2 * DAY), gone]),
    ),
    unique_by=lambda tracked: tracked.key,
)


@given(rows=ROWS, view=st.sampled_from([View(), View(preset=Preset.OFFLINE), View(query=parse("!a"))]), data=st.data())
def test_the_block_holds_all_problems_and_nothing_else(rows: list[object], view: View, data: st.DataObject) -> None:
    fleet = fleet_of(rows)  # type: ignore[arg-type]
    acked = {key_of(tracked.environment.id): NOTE for tracked in fleet.environments if data.draw(st.booleans())}
    arrangement = arrange(fleet, view, ALL, OrderInputs(NOW, acked))
    shown, count, old = arrangement.rows, arrangement.problems, arrangement.old
    assert [is_problem(tracked, NOW) for tracked in shown] == [place < count for place in range(len(shown))]
    acks = [key_of(tracked.environment.id) in acked for tracked in shown[:count]]
    assert acks == sorted(acks)
    if not view.is_narrowed:
        assert [is_old(tracked, NOW) for tracked in shown] == [place >= len(shown) - old for place in range(len(shown))]
        assert len(shown) == len(rows)


def test_a_row_that_is_left_out_leaves_the_counts_right() -> None:
    arrangement = arrange(fleet_of([offline("o"), online("a"), offline("old", DAY)]), View(), ALL, OrderInputs(NOW))
    counts = {}
    for name in ("o", "a", "old"):
        left = arrangement.without(named(name).key)
        counts[name] = (len(left.rows), left.problems, left.old)
    assert counts == {"o": (2, 0, 1), "a": (2, 1, 1), "old": (2, 1, 0)}
