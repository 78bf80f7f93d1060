"""The reasons of gaps and doubts."""

from __future__ import annotations

import pytest

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.watched_time import Span
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.views.report.period import Gap, causes_in, doubts_in, with_causes

MIN = 60_000


def at(minute: float) -> ServerMs:
    return ServerMs(minute * MIN)


PERIOD = Span(at(0), at(100))


def event(kind: Kind, minute: float, since: float | None = None, reason: str | None = None) -> Event:
    began_at = None if since is None else at(since)
    return Event(kind=kind, at=at(minute), since=began_at, reason=None if reason is None else clean(reason))


def shown(gaps: list[Gap]) -> list[tuple[float, float, str, str | None, bool]]:
    return [(gap.since / MIN, gap.until / MIN, gap.cause, gap.reason, gap.is_open) for gap in gaps]


def periods(*events: Event, still: tuple[Kind, ...] = (), run_ends: tuple[float, ...] = ()) -> list[object]:
    return [*shown(causes_in(events, still, [at(minute) for minute in run_ends], PERIOD))]


def test_a_period_lasts_from_its_begin_to_its_end_with_the_reason_of_its_begin() -> None:
    begin = event(Kind.FAILING, 11, since=10, reason="timeout: no answer")
    assert periods(begin, event(Kind.REACHED, 20, since=10)) == [(10, 20, "polls failed", "timeout: no answer", False)]


@pytest.mark.parametrize(("minute", "found"), [(0, []), (1, [(0, 1, "blind", None, False)])])
def test_one_that_began_before_is_cut_and_one_that_ended_before_is_left_out(minute: int, found: list[object]) -> None:
    assert periods(event(Kind.VISIBLE, minute, since=-5)) == found


def test_one_without_an_end_lasts_to_the_end_if_it_is_open_and_else_no_longer_than_its_run() -> None:
    begin = event(Kind.BLIND, 30, since=29, reason="timeout")
    assert periods(begin, still=(Kind.BLIND,)) == [(29, 100, "blind", "timeout", True)]
    assert periods(begin, run_ends=(20, 40)) == [(29, 40, "blind", "timeout", False)]
    again = event(Kind.BLIND, 60, since=60)
    assert periods(begin, again, event(Kind.VISIBLE, 70), run_ends=(40,)) == [
        (29, 40, "blind", "timeout", False),
        (60, 70, "blind", None, False),
    ]


def test_a_sleep_is_one_event() -> None:
    assert periods(event(Kind.SLEPT, 50, since=40)) == [(40, 50, "this machine slept", None, False)]


def cause_of(gap: Span, *events: Event, starts: tuple[float, ...] = ()) -> tuple[str, str | None]:
    causes = causes_in(events, (), [], PERIOD)
    (found,) = with_causes([gap], causes, [at(minute) for minute in starts], PERIOD)
    assert (found.since, found.until) == gap
    return found.cause, found.reason


def test_the_cause_of_a_gap_is_the_most_certain_one_that_touches_it() -> None:
    gap = Span(at(10), at(20))
    failing = (event(Kind.FAILING, 11, since=10, reason="timeout: no answer"), event(Kind.REACHED, 20))
    blind = (event(Kind.BLIND, 12, since=10, reason="timeout"), event(Kind.VISIBLE, 20))
    assert cause_of(gap, *failing, *blind) == ("polls failed", "timeout: no answer")
    assert cause_of(gap, *blind) == ("blind", "timeout")
    refused = (event(Kind.KEY_REFUSED, 11, reason="no"), event(Kind.KEY_ACCEPTED, 20))
    assert cause_of(gap, *failing, *refused) == ("key refused", "no")
    assert cause_of(gap, *failing, event(Kind.SLEPT, 20, since=15)) == ("this machine slept", None)
    assert cause_of(gap, event(Kind.SLEPT, 10, since=5)) == ("no polls", None)


@pytest.mark.parametrize(
    ("start", "cause"),
    [
        (10, "this machine slept"),
        (10.1, "envwatch did not run"),
        (20, "envwatch did not run"),
        (20.1, "this machine slept"),
    ],
)
def test_where_a_run_begins_envwatch_did_not_run_before(start: float, cause: str) -> None:
    assert cause_of(Span(at(10), at(20)), event(Kind.SLEPT, 18, since=12), starts=(start,))[0] == cause


def test_a_gap_at_the_end_without_a_cause_means_that_envwatch_does_not_run() -> None:
    assert cause_of(Span(at(90), at(100)))[0] == "envwatch did not run"
    assert cause_of(Span(at(90), at(99)))[0] == "no polls"


def test_what_is_in_doubt_is_named_unless_a_gap_names_that_time() -> None:
    events = (
        event(Kind.FAILING, 5, reason="timeout"),
        event(Kind.REACHED, 6),
        event(Kind.HELD, 11, reason="the list came back empty"),
        event(Kind.RELEASED, 12),
        event(Kind.SLEPT, 31, since=30),
    )
    causes = causes_in(events, (), [], PERIOD)
    gaps = with_causes([Span(at(5), at(7))], causes, [], PERIOD)
    assert shown(doubts_in(causes, gaps)) == [(11, 12, "not believed", "the list came back empty", False)]


@pytest.mark.parametrize(
    ("began", "ended", "is_doubt"), [(0, 5, True), (0, 5.1, False), (6, 6.5, False), (6.9, 9, False), (7, 9, True)]
)
def test_a_doubt_next_to_a_gap_is_named_and_a_doubt_within_is_not(
    began: float, ended: float, *, is_doubt: bool
) -> None:
    doubt, gap = Gap(at(began), at(ended), clean("not believed")), Gap(at(5), at(7), clean("no polls"))
    assert doubts_in([doubt], [gap]) == ([doubt._replace(kind="doubt")] if is_doubt else [])


def test_records_left_out_are_the_cause_of_a_gap_up_to_the_next_run() -> None:
    lost = Gap(at(0), at(15), clean("2 polls left out"), kind="left-out")
    failing = causes_in([event(Kind.FAILING, 11, since=10), event(Kind.REACHED, 20)], (), [], PERIOD)
    for causes, cause in (((lost,), "2 polls left out"), ((lost, *failing), "polls failed")):
        (gap,) = with_causes([Span(at(10), at(20))], causes, [], PERIOD)
        assert gap.cause == cause
    (gap,) = with_causes([Span(at(10), at(20))], (lost,), [at(20)], PERIOD)
    assert gap.cause == "2 polls left out"


def test_a_time_with_a_wrong_clock_is_in_doubt() -> None:
    events = (event(Kind.CLOCK_WRONG, 11, reason="the clock of this machine jumps"), event(Kind.CLOCK_RIGHT, 15))
    (doubt,) = doubts_in(causes_in(events, (), [], PERIOD), [])
    assert (doubt.since, doubt.until, doubt.cause) == (at(11), at(15), "a clock was wrong")
