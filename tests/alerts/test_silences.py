"""Silences: scope, duration, merging, ends by hand, format, and the hours of recurring silences in every zone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, key_of, reading
from support.hostile_fleet import WEAPONS
from support.tracked_environments import named, offline

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.recurring_hours import DAY_MINUTES, EVERY_DAY, RecurringHours, near_time_text
from envwatch.alerts.silences import (
    Silence,
    counted_from,
    hours_at,
    recurring_silences,
    silence_of_environments,
    silence_of_query,
    silenced_time,
    silences_content,
    silences_of,
)
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import Matcher
from envwatch.model.acks import LONGEST_NOTE
from envwatch.model.clock import OffsetBounds, ServerClock, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.model.times import MS

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


@pytest.mark.parametrize("silence", [of_query(), of_environments("env-a")], ids=["matcher", "environments"])
def test_a_silence_covers_its_query_or_its_rows_and_nothing_else(silence: Silence) -> None:
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


def test_a_persons_silence_covers_rows_off_before_and_rows_up() -> None:
    silence = of_query()
    for row in (OFF, A):
        assert silenced(row, silence) == (silence.until, silence.id)
    assert silenced(offline("b"), silence) is None


def test_a_recurring_silence_covers_only_losses_begun_in_the_hours() -> None:
    assert silenced(A, recurring=[nightly(-60, 60)]) is None
    assert silenced(OFF, recurring=[nightly(-4, 60)]) is None
    assert silenced(OFF, recurring=[nightly(-5, 60)]) == (NOW + 60 * MINUTE, "silence-1")
    assert silenced(offline("b"), recurring=[nightly(-60, 60)]) is None


def test_a_query_follows_the_clock_of_the_server_and_the_end_the_clock_of_this_machine() -> None:
    silence = of_query(OLD)
    assert silenced(A, silence, after=59_999) is None
    assert silenced(A, silence, after=60_000) == (silence.until, silence.id)
    skewed = of_query(OLD, at=WallMs(NOW - 5_000))
    assert silenced(A, skewed, after=60_000, skew=5_000) == (skewed.until + 5_000, skewed.id)


@pytest.mark.parametrize(
    ("after", "is_silenced"), [(-300_001, False), (-300_000, True), (3_599_999, True), (3_600_000, False)]
)
def test_a_silence_holds_from_the_begin_to_the_end_and_on_a_clock_set_back_a_little(
    after: float, *, is_silenced: bool
) -> None:
    silence = of_query()
    assert silence.holds(NOW + after) is is_silenced
    assert (silenced(A, silence, after=after) is not None) is is_silenced


def test_the_last_to_end_of_several_silences_begun_at_once_is_named() -> None:
    short, long, other = of_query(), of_environments("env-a", lasts=2 * HOUR), of_environments("env-b", lasts=9 * HOUR)
    found = [silenced(A, short, long, other, after=hours * 60 * MINUTE) for hours in (0, 1, 2)]
    assert found == [(long.until, long.id), (long.until, long.id), None]


@pytest.mark.parametrize(("gap", "is_one"), [(0, True), (1, False)])
def test_touching_silences_are_one(gap: float, *, is_one: bool) -> None:
    first, second = of_query(), of_query(at=WallMs(NOW + 60 * MINUTE + gap))
    last = second if is_one else first
    assert silenced(OFF, first, second, after=61 * MINUTE, off_at=NOW) == (
        last.until,
        second.id if is_one else first.id,
    )
    first, hours = of_query(lasts=HOUR - timedelta(milliseconds=gap)), nightly(60, 120)
    end = NOW + 120 * MINUTE if is_one else first.until
    assert silenced(OFF, first, recurring=[hours]) == (end, first.id)


def test_the_silence_in_force_is_named_with_the_end_of_all_touching_silences() -> None:
    first, hours = of_query(), nightly(30, 120)
    end = NOW + 120 * MINUTE
    assert silenced(OFF, first, recurring=[hours]) == (end, first.id)
    assert silenced(OFF, first, recurring=[hours], after=60 * MINUTE) == (end, hours.id)


@pytest.mark.parametrize(("before", "is_one"), [(1, True), (0, False)])
def test_touching_silences_are_one_for_a_week(before: int, *, is_one: bool) -> None:
    since = WallMs(NOW - 8 * DAY)
    first = of_query(at=since, lasts=timedelta(days=7, milliseconds=-before))
    second = of_query(at=first.until, lasts=timedelta(days=2))
    last = second if is_one else first
    assert silenced(OFF, first, second, off_at=since) == (last.until, last.id)


def test_a_new_silence_of_a_person_covers_a_row_however_long_the_row_was_silenced() -> None:
    old, new = of_query(at=WallMs(NOW - 8 * DAY), lasts=timedelta(days=8)), of_query()
    assert silenced(offline("a", since=8 * 86_400), old, new) == (new.until, new.id)


@pytest.mark.parametrize(("hours", "counts"), [(23.999, True), (24, False)])
def test_a_row_off_for_a_day_at_the_begin_of_the_silence_does_not_count_from_the_end(
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
DAILY = st.lists(st.tuples(st.integers(0, 1_439), st.integers(1, 1_439)), max_size=2)


@given(once=SPANS, nights=DAILY, off=st.integers(0, 1_400))
def test_a_row_is_silenced_without_a_gap_to_the_end_of_all_touching_silences(
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


def test_a_silence_is_known_by_its_scope_and_its_time() -> None:
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


def test_written_silences_read_the_same() -> None:
    cut = nightly(-60, 60).ended(AT, BY)
    silences = {each.id: each for each in (of_query(), of_environments("env-b", "env-a"), cut)}
    content = json.loads(json.dumps(silences_content(silences)))
    assert silences_of(content, matcher_of) == silences
    parts = [{"matcher"}, {"environments"}, {"ends"}]
    assert [each.keys() - {"at", "until", "note", "by"} for each in content.values()] == parts


GOOD: dict[str, Any] = {"matcher": "name:a", "at": NOW, "until": NOW + 1, "note": "why", "by": "ada"}


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
        GOOD | {"matcher": "name:("},
        GOOD | {"matcher": 7},
        GOOD | {"matcher": None, "ends": 7},
        GOOD | {"matcher": None, "environments": []},
        GOOD | {"matcher": None, "environments": [["", 7]]},
        GOOD | {"matcher": None, "environments": [["", "env-a"], [""]]},
        GOOD | {"matcher": None, "environments": "env-a"},
    ],
)
def test_a_damaged_silence_costs_itself_alone(raw: object) -> None:
    assert list(silences_of({"1": raw, "2": GOOD}, matcher_of)) == ["2"]


@pytest.mark.parametrize(("length", "is_read"), [(1_000, True), (1_001, False)])
def test_a_too_long_query_is_not_read(length: int, *, is_read: bool) -> None:
    found = silences_of({"1": GOOD | {"matcher": "x" * length}}, lambda _: ONLY_A)
    assert bool(found) is is_read


def test_note_and_author_may_be_missing() -> None:
    (silence,) = silences_of({"1": {"environments": [["", "env-a"]], "at": 1, "until": 2}}, matcher_of).values()
    assert silence == Silence(
        id=clean("1"),
        environments=frozenset({key_of("env-a")}),
        at=WallMs(1),
        until=WallMs(2),
        note=clean(""),
        by=clean(""),
    )


@given(text=st.sampled_from(WEAPONS) | st.text(max_size=300))
def test_no_text_in_a_file_can_act_on_a_terminal(text: str) -> None:
    raw = GOOD | {"matcher": None, "environments": [[text, text]], "note": text, "by": text}
    for silence in silences_of({text: raw}, matcher_of).values():
        texts = (silence.id, silence.note, silence.by, *(id_ for _, id_ in silence.environments))
        assert all(clean(each, max(len(each), 1)) == each for each in texts)
        assert (len(silence.id) <= 80, len(silence.by) <= 80, len(silence.note) <= LONGEST_NOTE) == (True, True, True)


def test_a_monitor_has_silences_of_persons_or_of_any_policy() -> None:
    one, other = clean("one"), clean("other")
    hours = recurring_silences([(ONLY_A, RecurringHours(begin=0, end=60))], ZONE)
    limits = {one: Limits(), other: Limits()}
    now = reading()
    assert not Monitor.create(limits, policies={one: AlertPolicy(), other: AlertPolicy()}).judge(now).has_silences
    assert (
        Monitor.create(limits, policies={one: AlertPolicy(), other: AlertPolicy(recurring=hours)})
        .judge(now)
        .has_silences
    )
    person = silence_of_environments([key_of("env-1")], WallMs(NOW), timedelta(hours=1), clean(""), clean("ada"))
    assert Monitor.create(limits).with_silences({person.id: person}).judge(now).has_silences


# Recurring hours

BERLIN: Final = ZoneInfo("Europe/Berlin")
HOUR_MS: Final = timedelta(hours=1) / MS
WEEKDAYS: Final = frozenset(range(5))
NIGHTS: Final = RecurringHours(days=WEEKDAYS, begin=17 * 60, end=10 * 60)
WEEKEND: Final = RecurringHours(days=EVERY_DAY - WEEKDAYS)


def at(text: str, zone: tzinfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000


def end_at(hours: RecurringHours, moment: float, zone: tzinfo | None = BERLIN) -> float | None:
    span = hours.span_at(moment, zone)
    return None if span is None else span[1]


def shown(instant: float | None, zone: tzinfo = BERLIN) -> str | None:
    return None if instant is None else f"{datetime.fromtimestamp(instant / 1000, zone):%a %d %H:%M:%S}"


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-11-27 16:59:59", None),
        ("2026-11-27 17:00:00", "Sat 28 10:00:00"),
        ("2026-11-28 09:59:59", "Sat 28 10:00:00"),
        ("2026-11-28 10:00:00", None),
        ("2026-11-29 20:00:00", None),
        ("2026-11-30 09:00:00", None),
        ("2026-11-30 17:00:00", "Tue 01 10:00:00"),
    ],
)
def test_hours_over_midnight_belong_to_the_day_of_their_begin(moment: str, end: str | None) -> None:
    assert shown(end_at(NIGHTS, at(moment))) == end


@pytest.mark.parametrize(
    ("moment", "end"), [("2026-11-27 23:59", None), ("2026-11-28 00:00", "Sun 29 00:00:00"), ("2026-11-30 00:00", None)]
)
def test_a_day_without_hours_lasts_from_midnight_to_midnight(moment: str, end: str | None) -> None:
    assert shown(end_at(WEEKEND, at(moment))) == end


@pytest.mark.parametrize(("end", "is_always"), [(599, False), (600, True)])
def test_hours_of_a_whole_day_on_every_day_never_end(end: int, *, is_always: bool) -> None:
    assert RecurringHours(begin=600, end=end + DAY_MINUTES).is_always is is_always


@pytest.mark.parametrize(
    ("begin", "end", "first", "last"),
    [
        # The clocks go from 02:00 to 03:00.
        ("02:30", "10:00", "2026-03-29 03:00", "2026-03-29 10:00"),
        ("01:00", "02:30", "2026-03-29 01:00", "2026-03-29 03:00"),
        ("02:15", "03:15", "2026-03-29 03:00", "2026-03-29 03:15"),
    ],
)
def test_a_time_skipped_by_the_clocks_is_the_moment_of_the_jump(begin: str, end: str, first: str, last: str) -> None:
    (from_hour, from_minute), (to_hour, to_minute) = (map(int, text.split(":")) for text in (begin, end))
    hours = RecurringHours(begin=from_hour * 60 + from_minute, end=to_hour * 60 + to_minute)
    assert end_at(hours, at(first)) == at(last)
    assert end_at(hours, at(first) - 1) is None
    assert end_at(hours, at(last) - 1) == at(last)
    assert end_at(hours, at(last)) is None


def test_hours_skipped_by_the_clocks_have_no_end() -> None:
    hours = RecurringHours(begin=135, end=165)
    assert end_at(hours, at("2026-03-29 03:00")) is None
    assert end_at(hours, at("2026-03-28 02:15")) == at("2026-03-28 02:45")


def test_a_time_shown_twice_by_the_clocks_is_the_first_of_both() -> None:
    # The clocks go from 03:00 back to 02:00.
    hours = RecurringHours(begin=150, end=240)
    assert end_at(hours, at("2026-10-25 02:30")) == at("2026-10-25 04:00")
    assert end_at(hours, at("2026-10-25 02:30") - 1) is None
    until_then = RecurringHours(begin=60, end=150)
    assert end_at(until_then, at("2026-10-25 01:00")) == at("2026-10-25 02:30")
    assert end_at(until_then, at("2026-10-25 02:29", fold=1)) is None


def test_a_day_skipped_by_a_zone_has_no_hours_and_ends_no_others() -> None:
    apia = ZoneInfo("Pacific/Apia")  # without 30 December 2011
    assert end_at(RecurringHours(days=frozenset({3})), at("2011-12-29 12:00", apia), apia) == at(
        "2011-12-31 00:00", apia
    )
    assert end_at(RecurringHours(days=frozenset({4})), at("2011-12-31 00:00", apia), apia) is None


def test_a_zone_of_none_is_the_zone_of_this_machine() -> None:
    local = datetime(2026, 11, 27, 18, 0).timestamp() * 1000  # noqa: DTZ001
    assert end_at(NIGHTS, local, None) == datetime(2026, 11, 28, 10, 0).timestamp() * 1000  # noqa: DTZ001


def test_a_moment_beyond_all_clocks_is_within_no_hours() -> None:
    for moment in (-1e18, 1e18, float("inf"), float("nan")):
        assert end_at(NIGHTS, moment) is None
        assert near_time_text(moment, 0.0, BERLIN) == "later"


@pytest.mark.parametrize(
    ("hours", "text"), [(23.9, "10:00"), (24, "Sat 10:00"), (167.9, "Sat 10:00"), (168, "2026-11-28 10:00")]
)
def test_an_end_within_a_day_is_a_time_and_a_later_end_has_the_day_or_the_date(hours: float, text: str) -> None:
    end = at("2026-11-28 10:00")
    assert near_time_text(end, end - hours * HOUR_MS, BERLIN) == text


def test_days_and_hours_are_written_as_the_setting_has_them() -> None:
    assert (NIGHTS.days_text, NIGHTS.hours_text) == ("mon-fri", "17:00-10:00")
    assert (RecurringHours().days_text, WEEKEND.hours_text) == ("", "")
    assert RecurringHours(days=frozenset({0, 2, 3, 6})).days_text == "mon,wed-thu,sun"


schedules: Final = st.builds(
    RecurringHours,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    begin=st.integers(0, DAY_MINUTES - 1),
    end=st.integers(1, DAY_MINUTES),
)
zones: Final = st.sampled_from(sorted(available_timezones())).map(ZoneInfo)
moments: Final = st.integers(946_684_800_000, 2_208_988_800_000).map(float)
"""From 2000 to 2040."""


def is_within(hours: RecurringHours, wall: datetime) -> bool:
    """Whether clocks that show a time are within hours, if the clocks skip and repeat nothing."""
    minutes = wall.hour * 60 + wall.minute
    if hours.begin < hours.end:
        return wall.weekday() in hours.days and hours.begin <= minutes < hours.end
    is_evening = minutes >= hours.begin and wall.weekday() in hours.days
    return is_evening or (minutes < hours.end and (wall - timedelta(days=1)).weekday() in hours.days)


def changes_nearby(moment: datetime, zone: tzinfo) -> bool:
    """Whether the clocks of a zone jump within two days of a moment."""
    offsets = {(moment + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-48, 49, 6)}
    return len(offsets) > 1


@given(hours=schedules, zone=zones, moment=moments)
def test_hours_hold_if_and_only_if_the_clocks_show_a_time_within_the_hours(
    hours: RecurringHours, zone: ZoneInfo, moment: float
) -> None:
    when = datetime.fromtimestamp(moment / 1000, UTC)
    if not changes_nearby(when, zone):
        wall = when.astimezone(zone).replace(tzinfo=None)
        assert (end_at(hours, moment, zone) is not None) is is_within(hours, wall)


@given(hours=schedules, zone=zones, moment=moments)
def test_hours_in_force_begin_and_end_around_the_moment_within_two_days(
    hours: RecurringHours, zone: ZoneInfo, moment: float
) -> None:
    if (span := hours.span_at(moment, zone)) is not None:
        begin, end = span
        # Hours last up to a day, and up to a day more where the clocks go back over the date line.
        assert begin <= moment < end <= begin + 48 * HOUR_MS
        assert hours.span_at(begin, zone) is not None
        assert shown(end, zone) is not None
