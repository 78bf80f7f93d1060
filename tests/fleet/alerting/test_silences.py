"""Silences: scope, duration, merging, ends by hand, and format."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, key_of
from support.hostile_fleet import WEAPONS
from support.tracked_environments import named, offline

from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.alerting.recurring_hours import RecurringHours
from envwatch.fleet.alerting.silences import (
    Silence,
    content_of,
    counted_from,
    hours_at,
    recurring_silences,
    silence_of_environments,
    silence_of_query,
    silenced_time,
    silences_of,
)
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import Matcher
from envwatch.model.acks import LONGEST_NOTE
from envwatch.model.clock import OffsetBounds, ServerClock, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.tracking import TrackedEnvironment

A, B = named("a"), named("b")
HOUR, AT, NOTE, BY = timedelta(hours=1), WallMs(NOW), clean("new disks"), clean("ada")
ONLY_A = Matcher(clean("name:a"), lambda tracked, _: tracked.environment.name == "a")
OLD = Matcher(clean("beat:>1m"), lambda _, now: now >= NOW + 60_000)


def matcher_of(query: str) -> Matcher | None:
    return {"name:a": ONLY_A, "beat:>1m": OLD}.get(query)


def of_query(matcher: Matcher = ONLY_A, lasts: timedelta = HOUR, at: WallMs = AT) -> Silence:
    return silence_of_query(matcher, at, lasts, NOTE, BY)


def of_environments(*ids: str, lasts: timedelta = HOUR, at: WallMs = AT) -> Silence:
    return silence_of_environments(map(key_of, ids), at, lasts, NOTE, BY)


@pytest.mark.parametrize("silence", [of_query(), of_environments("env-a")], ids=["query", "environments"])
def test_a_silence_is_of_what_it_finds_or_names_and_of_nothing_else(silence: Silence) -> None:
    assert (silence.at, silence.until - silence.at, silence.note, silence.by) == (AT, 3_600_000, NOTE, BY)
    assert silence.covers(A, EMPTY, NOW)
    assert not silence.covers(B, EMPTY, NOW)


MINUTE, DAY = 60_000.0, 86_400_000.0
ZONE = timezone(timedelta(seconds=40))
"""A zone whose clocks show a whole minute at `NOW`."""
OFF = offline("a")
"""A row that is off for five minutes."""


def silenced(
    row: TrackedEnvironment,
    *silences: Silence,
    recurring: Sequence[Silence] = (),
    after: float = 0.0,
    skew: float = 0.0,
    off_at: float | None = None,
) -> tuple[float, SafeText] | None:
    """Return the last silenced time's end and the silence's id, some ms after `NOW` by the server's clock."""
    profile_state = replace(ProfileState(), clock=ServerClock((OffsetBounds(skew, skew),)))
    by_id = {each.id: each for each in silences}
    found = silenced_time(row, profile_state, by_id, recurring, WallMs(NOW + after - skew), off_at)
    return None if found is None else (found.until, found.silence.id)


def nightly(begin: float, end: float, matcher: Matcher = ONLY_A) -> Silence:
    """Return a silence that recurs every day, from and until so many minutes after `NOW`."""
    minutes = [int((NOW + 40_000) % DAY / MINUTE + each) for each in (begin, end)]
    hours = RecurringHours(begin=minutes[0] % 1440, end=minutes[1] % 1440 or 1440)
    (silence,) = recurring_silences([(matcher, hours)], ZONE)
    return silence


def test_the_key_of_a_recurring_silence_is_the_key_in_files() -> None:
    """A file names by this key the silences whose present hours a person ended."""
    hours = RecurringHours(begin=17 * 60, end=10 * 60)
    (silence,) = recurring_silences([(Matcher(clean("name:mac-*"), lambda _tracked, _now: True), hours)], ZONE)
    assert silence.recurrence == "84e98837dc2e0cc1"


def test_a_persons_silence_covers_rows_that_are_off_already_and_rows_that_are_up() -> None:
    silence = of_query()
    for row in (OFF, A):
        assert silenced(row, silence) == (silence.until, silence.id)
    assert silenced(offline("b"), silence) is None


def test_a_recurring_silence_covers_only_losses_that_begin_in_the_hours() -> None:
    assert silenced(A, recurring=[nightly(-60, 60)]) is None
    assert silenced(OFF, recurring=[nightly(-4, 60)]) is None
    assert silenced(OFF, recurring=[nightly(-5, 60)]) == (NOW + 60 * MINUTE, "quiet-1")
    assert silenced(offline("b"), recurring=[nightly(-60, 60)]) is None


def test_a_query_is_asked_by_the_clock_of_the_server_and_the_end_by_that_of_this_machine() -> None:
    silence = of_query(OLD)
    assert silenced(A, silence, after=59_999) is None
    assert silenced(A, silence, after=60_000) == (silence.until, silence.id)
    skewed = of_query(OLD, at=WallMs(NOW - 5_000))
    assert silenced(A, skewed, after=60_000, skew=5_000) == (skewed.until + 5_000, skewed.id)


@pytest.mark.parametrize(
    ("after", "is_silenced"), [(-300_001, False), (-300_000, True), (3_599_999, True), (3_600_000, False)]
)
def test_a_silence_holds_from_the_begin_to_the_end_and_on_a_clock_that_was_set_back_a_little(
    after: float, *, is_silenced: bool
) -> None:
    silence = of_query()
    assert silence.holds(NOW + after) is is_silenced
    assert (silenced(A, silence, after=after) is not None) is is_silenced


def test_of_several_silences_that_begin_at_once_the_last_to_end_is_named() -> None:
    short, long, other = of_query(), of_environments("env-a", lasts=2 * HOUR), of_environments("env-b", lasts=9 * HOUR)
    found = [silenced(A, short, long, other, after=hours * 60 * MINUTE) for hours in (0, 1, 2)]
    assert found == [(long.until, long.id), (long.until, long.id), None]


@pytest.mark.parametrize(("gap", "is_one"), [(0, True), (1, False)])
def test_silences_that_touch_are_one(gap: float, *, is_one: bool) -> None:
    first, second = of_query(), of_query(at=WallMs(NOW + 60 * MINUTE + gap))
    last = second if is_one else first
    assert silenced(OFF, first, second, after=61 * MINUTE, off_at=NOW) == (
        last.until,
        second.id if is_one else first.id,
    )
    first, hours = of_query(lasts=HOUR - timedelta(milliseconds=gap)), nightly(60, 120)
    end = NOW + 120 * MINUTE if is_one else first.until
    assert silenced(OFF, first, recurring=[hours]) == (end, first.id)


def test_the_silence_in_force_is_named_with_the_end_of_all_that_touch() -> None:
    first, hours = of_query(), nightly(30, 120)
    end = NOW + 120 * MINUTE
    assert silenced(OFF, first, recurring=[hours]) == (end, first.id)
    assert silenced(OFF, first, recurring=[hours], after=60 * MINUTE) == (end, hours.id)


@pytest.mark.parametrize(("before", "is_one"), [(1, True), (0, False)])
def test_silences_that_touch_are_one_for_a_week(before: int, *, is_one: bool) -> None:
    since = WallMs(NOW - 8 * DAY)
    first = of_query(at=since, lasts=timedelta(days=7, milliseconds=-before))
    second = of_query(at=first.until, lasts=timedelta(days=2))
    last = second if is_one else first
    assert silenced(OFF, first, second, off_at=since) == (last.until, last.id)


def test_a_new_silence_of_a_person_covers_a_row_however_long_the_row_was_silenced() -> None:
    old, new = of_query(at=WallMs(NOW - 8 * DAY), lasts=timedelta(days=8)), of_query()
    assert silenced(offline("a", since=8 * 86_400), old, new) == (new.until, new.id)


@pytest.mark.parametrize(("hours", "counts"), [(23.999, True), (24, False)])
def test_a_row_that_was_off_for_a_day_when_the_silence_began_does_not_count_from_the_end(
    hours: float, *, counts: bool
) -> None:
    row, silence = offline("a", since=hours * 3_600), of_query()
    found = silenced_time(row, ProfileState(), {silence.id: silence}, (), AT)
    assert found is not None
    assert counted_from(found, row) == (silence.until if counts else None)


def test_the_end_by_hand_ends_a_persons_silence_for_good_and_of_a_recurring_silence_the_present_hours() -> None:
    once, hours, others = of_query(), nightly(-60, 60), nightly(-60, 61)
    at = WallMs(NOW + 10 * MINUTE)
    ended = once.ended(at, BY)
    assert (ended.id, ended.until, ended.note) == (once.id, at, NOTE)
    cut = hours.ended(at, BY)
    assert (cut.at, cut.until, cut.by, cut.id == hours.id) == (at, at, BY, False)
    assert silenced(OFF, cut, recurring=[hours], after=10 * MINUTE) == (at, hours.id)
    assert silenced(OFF, cut, recurring=[others]) == (NOW + 61 * MINUTE, others.id), "another table"
    in_hours = {"after": 11 * MINUTE, "off_at": at}
    assert silenced(OFF, cut, recurring=[hours], **in_hours) is None
    assert silenced(OFF, cut, recurring=[hours], **in_hours | {"off_at": at - 1}) == (at, hours.id)
    tomorrow = {"after": DAY + MINUTE, "off_at": NOW + DAY}
    assert silenced(OFF, cut, recurring=[hours], **tomorrow) == (NOW + DAY + 60 * MINUTE, hours.id)
    assert silenced(A, cut) is None


SPANS = st.lists(st.tuples(st.integers(-2_000, 2_000), st.integers(1, 600)), max_size=5)
NIGHTS = st.lists(st.tuples(st.integers(0, 1_439), st.integers(1, 1_439)), max_size=2)


@given(once=SPANS, nights=NIGHTS, off=st.integers(0, 1_400))
def test_a_row_is_silenced_without_a_gap_from_the_loss_or_a_later_silence_to_the_end_of_all_that_touch(
    once: list[tuple[int, int]], nights: list[tuple[int, int]], off: int
) -> None:
    silences = [of_query(at=WallMs(NOW + at * MINUTE), lasts=timedelta(minutes=lasts)) for at, lasts in once]
    recurring = [nightly(begin, begin + lasts) for begin, lasts in nights]
    row, state = offline("a", since=off * 60), ProfileState()
    # This machine's clock was set back a little behind the begin of a silence.
    begun = [each._replace(at=min(each.at, AT)) for each in silences if each.at - 300_000 <= NOW]

    def holds(moment: float) -> bool:
        return any(each.at <= moment < each.until for each in begun) or any(
            hours_at(each, moment, {}, state.clock) is not None for each in recurring
        )

    found = silenced_time(row, state, {each.id: each for each in silences}, recurring, AT)
    off_at = NOW - off * MINUTE
    if found is None:
        assert not holds(off_at)
        assert not any(off_at < each.at < min(each.until, NOW) for each in begun)
        return
    assert found.since in {off_at, *(each.at for each in begun if each.at > off_at)}
    assert all(holds(found.since + minute * MINUTE) for minute in range(int((found.until - found.since) / MINUTE)))
    assert not holds(found.until) or found.until - found.since >= 7 * DAY
    assert found.until > NOW or not any(each.at <= NOW < each.until for each in begun)


def test_a_silence_is_known_by_what_it_is_of_and_when() -> None:
    assert of_environments("b", "a") == of_environments("a", "b", "a")
    different = [
        of_environments("a"),
        of_environments("a", "b"),
        of_environments("a", lasts=2 * HOUR),
        of_environments("a", at=WallMs(NOW + 1)),
        of_query(),
        of_query(OLD),
    ]
    assert len({each.id for each in different}) == len(different)
    assert all(len(each.id) == 8 and int(each.id, 16) >= 0 for each in different)


def test_what_is_written_is_what_is_read() -> None:
    cut = nightly(-60, 60).ended(AT, BY)
    silences = {each.id: each for each in (of_query(), of_environments("env-b", "env-a"), cut)}
    content = json.loads(json.dumps(content_of(silences)))
    assert silences_of(content, matcher_of) == silences
    rest = GOOD.keys() - {"query"}
    parts = [{"query"}, {"environments", "servers"}, {"ends"}]
    assert [each.keys() for each in content.values()] == [rest | part for part in parts]


GOOD: dict[str, Any] = {"query": "name:a", "at": NOW, "until": NOW + 1, "note": "why", "by": "ada"}


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "text",
        {},
        GOOD | {"at": None},
        GOOD | {"at": True},
        GOOD | {"until": "soon"},
        GOOD | {"until": float("nan")},
        GOOD | {"note": 7},
        GOOD | {"by": ["ada"]},
        GOOD | {"query": "name:("},
        GOOD | {"query": 7},
        GOOD | {"query": None, "ends": 7},
        GOOD | {"query": None, "environments": []},
        GOOD | {"query": None, "environments": [7], "servers": [""]},
        GOOD | {"query": None, "environments": "env-a"},
    ],
)
def test_a_damaged_silence_costs_itself_alone(raw: object) -> None:
    assert list(silences_of({"1": raw, "2": GOOD}, matcher_of)) == ["2"]


@pytest.mark.parametrize(("length", "is_read"), [(1_000, True), (1_001, False)])
def test_a_query_that_is_too_long_is_not_read(length: int, *, is_read: bool) -> None:
    found = silences_of({"1": GOOD | {"query": "x" * length}}, lambda _: ONLY_A)
    assert bool(found) is is_read


def test_note_and_author_may_be_missing() -> None:
    (silence,) = silences_of(
        {"1": {"environments": ["env-a", 7], "servers": ["", ""], "at": 1, "until": 2}}, matcher_of
    ).values()
    assert silence == Silence(
        id=clean("1"),
        environments=frozenset({key_of("env-a")}),
        at=WallMs(1),
        until=WallMs(2),
        note=clean(""),
        by=clean(""),
    )


@given(text=st.sampled_from(WEAPONS) | st.text(max_size=300))
def test_no_text_in_a_file_stays_as_it_is_if_it_could_act_on_a_terminal(text: str) -> None:
    raw = GOOD | {"query": None, "environments": [text], "servers": [text], "note": text, "by": text}
    for silence in silences_of({text: raw}, matcher_of).values():
        texts = (silence.id, silence.note, silence.by, *(id_ for _, id_ in silence.environments))
        assert all(clean(each, max(len(each), 1)) == each for each in texts)
        assert (len(silence.id) <= 80, len(silence.by) <= 80, len(silence.note) <= LONGEST_NOTE) == (True, True, True)


def test_a_monitor_has_silences_of_persons_or_of_any_policy() -> None:
    one, other = clean("one"), clean("other")
    hours = recurring_silences([(ONLY_A, RecurringHours(begin=0, end=60))], ZONE)
    limits = {one: Limits(), other: Limits()}
    assert not Monitor.create(limits, policies={one: AlertPolicy(), other: AlertPolicy()}).has_silences
    assert Monitor.create(limits, policies={one: AlertPolicy(), other: AlertPolicy(silences=hours)}).has_silences
    person = silence_of_environments([key_of("env-1")], WallMs(NOW), timedelta(hours=1), clean(""), clean("ada"))
    assert Monitor.create(limits).with_silences({person.id: person}).has_silences
