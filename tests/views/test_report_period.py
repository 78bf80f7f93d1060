"""The period of a report: causes of gaps and doubts, damaged records, rows and filters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.memory_history import MemoryHistory
from support.night import HOUR_MS, ZONE, Night, eventful_night
from support.reports import head, names, recorded, told, values

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.watched_time import Span
from envwatch.history.past import DamagedError, Moment
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.views.events.matching import compile_matcher
from envwatch.views.report.period import (
    Gap,
    causes_in,
    doubts_in,
    first_after,
    matching,
    rows_of,
    with_causes,
)
from envwatch.views.report.sections import build_report

if TYPE_CHECKING:
    from envwatch.model.outcome import RecordedPoll


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


def test_a_period_lasts_from_begin_to_end_with_the_reason_of_its_begin_and_a_sleep_is_one_event() -> None:
    begin = event(Kind.FAILING, 11, since=10, reason="timeout: no answer")
    assert periods(begin, event(Kind.REACHED, 20, since=10)) == [(10, 20, "polls failed", "timeout: no answer", False)]
    assert periods(event(Kind.SLEPT, 50, since=40)) == [(40, 50, "this machine slept", None, False)]


@pytest.mark.parametrize(("minute", "found"), [(0, []), (1, [(0, 1, "blind", None, False)])])
def test_a_period_is_cut_at_the_begin_and_left_out_if_over_before(minute: int, found: list[object]) -> None:
    assert periods(event(Kind.VISIBLE, minute, since=-5)) == found


def test_a_period_without_an_end_lasts_to_the_end_or_no_longer_than_its_run() -> None:
    begin = event(Kind.BLIND, 30, since=29, reason="timeout")
    assert periods(begin, still=(Kind.BLIND,)) == [(29, 100, "blind", "timeout", True)]
    assert periods(begin, run_ends=(20, 40)) == [(29, 40, "blind", "timeout", False)]
    again = event(Kind.BLIND, 60, since=60)
    assert periods(begin, again, event(Kind.VISIBLE, 70), run_ends=(40,)) == [
        (29, 40, "blind", "timeout", False),
        (60, 70, "blind", None, False),
    ]


def cause_of(gap: Span, *events: Event, starts: tuple[float, ...] = ()) -> tuple[str, str | None]:
    causes = causes_in(events, (), [], PERIOD)
    (found,) = with_causes([gap], causes, [at(minute) for minute in starts], PERIOD)
    assert (found.since, found.until) == gap
    return found.cause, found.reason


def test_the_cause_of_a_gap_is_the_most_certain_of_its_time() -> None:
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


def test_without_a_cause_envwatch_does_not_run_in_a_gap_at_the_end() -> None:
    assert cause_of(Span(at(90), at(100)))[0] == "envwatch did not run"
    assert cause_of(Span(at(90), at(99)))[0] == "no polls"


def test_a_doubt_is_named_unless_a_gap_names_the_time() -> None:
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
    wrong = (event(Kind.CLOCK_WRONG, 11, reason="the clock of this machine jumps"), event(Kind.CLOCK_RIGHT, 15))
    (doubt,) = doubts_in(causes_in(wrong, (), [], PERIOD), [])
    assert (doubt.since, doubt.until, doubt.cause) == (at(11), at(15), "a clock was wrong")


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


@pytest.mark.parametrize(("at", "first"), [(0.5, 1.0), (1.0, 2.0), (1.5, 2.0), (2.0, 9.0), (5.0, 9.0)])
def test_the_first_of_moments_after_a_moment(at: float, first: float) -> None:
    assert first_after([ServerMs(1.0), ServerMs(2.0)], ServerMs(at), ServerMs(9.0)) == first


class Damaged(MemoryHistory):
    """A history whose moments cannot be read in a time."""

    def __init__(self, history: MemoryHistory, since: float, until: float) -> None:
        self.__dict__ |= vars(history)
        self._lost = Span(ServerMs(since), ServerMs(until))

    def moment(self, poll: RecordedPoll) -> Moment:
        if self._lost.since <= poll.at <= self._lost.until:
            raise DamagedError("damaged")
        return super().moment(poll)


def test_a_report_ends_with_the_newest_readable_moment() -> None:
    night = Night("2026-11-25 05:00").add("ana", "ben").until("05:30").lose("ana").until("06:00")
    found = recorded(Damaged(night.history, night.wall - 40 * 60_000, night.wall), night.wall, 1)
    assert [(each.what, each.count) for each in found.left_out] == [("poll", 80)]
    profile = build_report(found, ZONE)
    assert not values(profile, "down")
    assert "Careful, this may be out of date: 80 polls left out: `damaged`, since 05:19." in head(profile, "fleet")
    assert told(profile, "unseen") == ["since 05:19 (40m) 80 polls left out: `damaged`"]
    assert [each["kind"] for each in values(profile, "unseen")] == ["gap", "left-out"]


def test_a_report_begins_with_the_last_poll_before_the_period_or_the_first_readable_moment() -> None:
    night = Night().add("ana").until("22:30").add("ben").until("23:00")
    begin = night.wall - HOUR_MS / 2
    assert begin - 30_000 <= recorded(night.history, night.wall, 0.5).first.now.wall < begin
    found = recorded(Damaged(night.history, begin - HOUR_MS, begin + 60_000), night.wall, 0.5)
    assert begin + 60_000 < found.first.now.wall <= begin + 90_000
    assert found.left_out == []


def test_the_rows_of_a_period_are_the_newest_states_of_all_rows_in_the_period() -> None:
    night = Night().add("ana", "ben").until("22:10").add("chen").until("22:20").remove("chen")
    night.change("ana", version="0.35.0").until("23:50")
    whole_period = recorded(night.history, night.wall, 2)
    found = rows_of(whole_period)
    assert found.keys() == {"ana", "ben", "chen"}
    nobody = replace(whole_period.last, profile_state=replace(whole_period.last.profile_state, environments={}))
    assert rows_of(replace(whole_period, last=nobody)).keys() == found.keys()
    assert rows_of(replace(whole_period, last=nobody))[clean("ana")].environment.version == "0.35.0"


def test_a_filter_leaves_rows_with_a_match_at_the_begin_at_an_event_or_at_the_end() -> None:
    night = eventful_night()
    of_pod = build_report(matching(recorded(night.history, night.at), compile_matcher("pod:p-7")), ZONE)
    assert head(of_pod, "fleet").startswith("12 machines: +1 off, 11 on, ")
    assert head(of_pod, "watch").endswith(" Only machines that match `pod:p-7`.")
    assert names(of_pod, "down") == ["edge-4"]
    assert [len(each["environments"]) for each in values(of_pod, "incidents")] == [12]
    assert [each["kind"] for each in values(of_pod, "unseen")] == ["gap", "gap", "gap", "doubt"]
    of_one = build_report(matching(recorded(night.history, night.at), compile_matcher("name:chen-imac")))
    assert [each["after"] for each in values(of_one, "changes")] == ["unrestricted", "standard"]
    assert not values(of_one, "incidents")
