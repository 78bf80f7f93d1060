"""Problems that are not on the screen are counted, and the way to the next one never denies them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, failed, key_of, reading
from support.tracked_environments import ALL, fleet_of, offline, online

from envwatch.fleet.acknowledgements import Ack
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.fleet import Fleet
from envwatch.fleet.monitor import Monitor
from envwatch.model.text import clean
from envwatch.views.arrangement import OrderInputs, arrange, lines_of
from envwatch.views.grouping import group_key
from envwatch.views.out_of_sight import ProblemPlaces, above_text, no_problem_text
from envwatch.views.table_view import View

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment

NOTE = Ack(NOW, clean(""))
OS = group_key("os", clean("linux"))


def places(*rows: TrackedEnvironment, view: View | None = None) -> ProblemPlaces:
    fleet = fleet_of(rows)
    view = view or View(sort="name")
    lines = lines_of(arrange(fleet, view, ALL, OrderInputs(NOW)), view, fleet)
    return ProblemPlaces.among(lines, partial(Monitor(fleet).is_alerting, now=reading()))


def test_problems_are_counted_above_below_and_in_folds() -> None:
    found = places(offline("a"), online("b"), offline("c"), online("d"), offline("e"))
    assert (list(found.rows), len(found)) == ([0, 2, 4], 3)
    assert [found.above(top) for top in range(6)] == [0, 1, 1, 2, 2, 3]
    assert [found.below(end) for end in range(6)] == [3, 2, 2, 1, 1, 0]
    folded = places(offline("a"), online("b"), view=View(group="os", folded=frozenset({OS})))
    assert (len(folded), folded.in_folds, folded.rows) == (1, 1, [])


@given(st.sets(st.integers(0, 14)), st.integers(0, 14))
def test_going_on_reaches_every_problem_and_going_back_does_too(rows: set[int], start: int) -> None:
    found = ProblemPlaces(sorted(rows))
    for direction in (1, -1):
        place, reached = start, set()
        for _ in rows:
            place = found.next_from(place, direction) or 0
            reached.add(place)
        assert reached == rows


def test_from_a_folded_header_the_next_problem_is_inside_it() -> None:
    found = ProblemPlaces([0], {3: [offline("a")]})
    assert (found.next_from(3, 1), found.next_from(3, -1)) == (3, 0)
    assert ProblemPlaces().next_from(0, 1) is None


def test_what_is_out_of_sight_is_said_in_words_and_nothing_is_said_of_none() -> None:
    found = ProblemPlaces([0, 1, 9], {12: [offline("a"), offline("b")]})
    assert above_text(found, 2, 4, "▲", "·") == "▲ 2 problems above · 2 in folded groups · 4 hidden"
    assert above_text(ProblemPlaces([0]), 1, 0, "^", "-") == "^ 1 problem above"
    assert above_text(ProblemPlaces([0, 9]), 0, 0, "▲", "·") == ""


@pytest.mark.parametrize(
    ("rows", "acked", "hidden", "text"),
    [
        ([online("a")], "", 0, "no problems"),
        ([offline("a")], "a", 0, "no new problems: 1 acknowledged"),
        ([offline("a"), offline("b", 90_000)], "a", 0, "no new problems: 1 acknowledged, 1 old (x unfolds)"),
        ([offline("a"), online("b")], "", 0, "no new problems: 1 without alert"),
        ([offline("a"), offline("b")], "", 2, "2 problems hidden by the filter: 0 shows them"),
        ([offline("a")], "", 1, "1 problem hidden by the filter: 0 shows it"),
    ],
)
def test_the_answer_names_what_there_is(rows: list[TrackedEnvironment], acked: str, hidden: int, text: str) -> None:
    acks = {key_of(f"env-{name}"): NOTE for name in acked}
    assert no_problem_text(fleet_of(rows), acks, reading(), hidden, is_old_folded=True) == text


def test_unknown_is_never_called_no_problem() -> None:
    assert "unknown" in no_problem_text(Fleet(), {}, reading(), 0, is_old_folded=False)
    fleet = fleet_of([online("a"), online("b")])
    later = NOW + 10 * 60_000
    fleet, _ = fleet.apply(NO_PROFILE, failed(at=later))
    assert no_problem_text(fleet, {}, reading(later), 0, is_old_folded=False) == "no new problems: 2 unknown"
    assert "x unfolds" not in no_problem_text(fleet_of([offline("a", 90_000)]), {}, reading(), 0, is_old_folded=False)


def test_headers_of_open_groups_hide_nothing() -> None:
    found = places(offline("a"), online("b"), view=View(group="os"))
    assert (list(found.rows), found.in_folds) == ([1], 0)
