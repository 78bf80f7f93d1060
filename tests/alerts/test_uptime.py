"""The uptime of a row: share, two watched days, outages; the record: which time is watched, and the file."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from math import exp
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, failed, listed, reading, slept

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.uptime_record import UptimeRecord, record_of, uptime_content
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.tracking import EVERYTHING
from envwatch.fleet.uptime import Uptime, uptime_text
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.model.environment import Environment


HOUR: Final = 3_600_000.0
WEEK: Final = 7 * 24 * HOUR


def lived(*spans: tuple[bool | None, float], is_first: bool = False) -> Uptime:
    """Return the uptime at the end of spans of (state, hours), the last span still going on."""
    uptime, at = Uptime(is_up=spans[0][0], is_first=is_first), 0.0
    for (_, hours), (state, _) in zip(spans, [*spans[1:], spans[-1]], strict=True):
        at += hours * HOUR
        uptime = uptime.after(at, is_up=state)
    return uptime


def share_by_hand(*pieces: tuple[float, bool | None]) -> float:
    """Return the share by the definition, of pieces of (hours, state), oldest first.

    An hour that lies `a` watched hours back weighs exp(-a / week). The present outage does not count yet, and any other
    outage counts for 12 hours.
    """
    seen = [(hours, is_up) for hours, is_up in pieces if is_up is not None]
    spells = [(is_up, sum(hours for hours, _ in spell)) for is_up, spell in groupby(seen, lambda piece: piece[1])]
    if spells and not spells[-1][0]:
        spells.pop()
    age = weight = weight_up = 0.0
    for is_up, hours in reversed(spells):
        counted = hours if is_up else min(hours, 12.0)
        own = exp(-age * HOUR / WEEK) - exp(-(age + counted) * HOUR / WEEK)
        age, weight, weight_up = age + counted, weight + own, weight_up + (own if is_up else 0.0)
    return weight_up / weight if weight else 0.0


@given(st.lists(st.tuples(st.floats(0.01, 60), st.sampled_from((True, False, None))), min_size=1, max_size=30))
def test_the_share_is_the_weighed_watched_time(pieces: list[tuple[float, bool | None]]) -> None:
    known = list[tuple[float, bool | None]]()
    for piece in pieces:
        # The record takes doubtful time within an outage for a part of the outage.
        if piece[1] is not None or not known or known[-1][1] is not False:
            known.append(piece)
    uptime = lived(*((state, hours) for hours, state in known))
    assert (uptime.share or 0.0) == pytest.approx(share_by_hand(*known), abs=1e-9)
    # An outage changes no answer while the row is down.
    lost = uptime.after(uptime.at, is_up=False)
    later = lost.after(lost.at + 1_000 * HOUR, is_up=False)
    assert (later.share, later.is_permanent) == (lost.share, lost.is_permanent)
    assert uptime.watched_for <= timedelta(days=7)


@pytest.mark.parametrize(
    "pieces",
    [
        *([(100.0, True), (hours, False), (1.0, True)] for hours in (1.0, 11.0, 12.0, 13.0, 72.0)),
        [(60.0, True), (6.0, False), (4.0, True), (300.0, None), (6.0, True)],
        [(1_000.0, True)],
    ],
)
def test_an_outage_counts_for_twelve_hours_at_most_and_time_without_proof_not_at_all(
    pieces: list[tuple[float, bool | None]],
) -> None:
    uptime = lived(*((state, hours) for hours, state in pieces))
    assert uptime.share == pytest.approx(share_by_hand(*pieces), abs=1e-9)
    counted = sum(hours if state else min(hours, 12.0) for hours, state in pieces if state is not None)
    assert uptime.watched_for / timedelta(hours=1) == pytest.approx(min(counted, 168.0), abs=1.0)


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.01, 30)), min_size=1, max_size=20),
    st.floats(0.0, 1.0),
)
def test_a_refresh_in_the_middle_changes_nothing(spans: list[tuple[bool, float]], where: float) -> None:
    whole, parts, at = Uptime(is_up=True), Uptime(is_up=True), 0.0
    for state, hours in spans:
        whole = whole.after(at + hours * HOUR, is_up=state)
        parts = parts.after(at + where * hours * HOUR, is_up=parts.is_up).after(at + hours * HOUR, is_up=state)
        at += hours * HOUR
    assert parts.up == pytest.approx(whole.up, rel=1e-9, abs=1e-3)
    assert parts.watched == pytest.approx(whole.watched, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize(("hours", "is_known"), [(47.99, False), (48.0, True)])
def test_the_uptime_is_known_after_two_watched_days(hours: float, *, is_known: bool) -> None:
    assert lived((True, hours)).is_known is is_known
    assert lived((True, hours)).is_permanent is is_known
    assert lived(*[(True, hours / 1000)] * 1000).is_known is is_known


@pytest.mark.parametrize("share", [0.8999, 0.9, 0.9001])
def test_the_least_share_of_a_permanent_row(share: float) -> None:
    assert Uptime(up=share * WEEK, watched=WEEK * 0.99).is_permanent is (share / 0.99 >= 0.9)
    assert Uptime(up=share * WEEK * 0.5, watched=WEEK * 0.5).is_permanent is (share >= 0.9)


def test_a_machine_down_for_eight_hours_each_night_is_told_three_nights() -> None:
    uptime, told = lived((True, 500.0)), []
    for _ in range(6):
        lost = uptime.after(uptime.at + 16 * HOUR, is_up=False)
        told.append(lost.is_permanent)
        uptime = lost.after(lost.at + 8 * HOUR, is_up=True)
    assert told == [True, True, True, False, False, False]


@pytest.mark.parametrize(("is_first", "hours", "is_permanent"), [(True, 1, True), (True, 50, True), (False, 1, False)])
def test_a_row_of_the_first_listing_counts_until_the_uptime_is_known(
    hours: float, *, is_first: bool, is_permanent: bool
) -> None:
    assert lived((True, hours), is_first=is_first).is_permanent is is_permanent
    assert not lived((True, 30.0), (False, 12.0), (True, 10.0), is_first=True).is_permanent


@pytest.mark.parametrize(
    ("uptime", "text"),
    [
        *(
            (Uptime(up=share * WEEK, watched=WEEK), f"up {percent} % of 7 days")
            for share, percent in ((0.8999, 89), (0.9, 90), (0.9999, 99), (1.0, 100), (0.0, 0))
        ),
        (lived((True, 47.9)), "watched for 47 of 48 h"),
        (lived((True, 48.0)), "up 100 % of 2 days"),
        (lived((True, 71.0)), "up 100 % of 2 days"),
        (lived((True, 72.0)), "up 100 % of 3 days"),
        (lived((True, 2_000.0)), "up 100 % of 7 days"),
        (lived((True, 3.0), is_first=True), "watched for 3 of 48 h, and connected for a day before"),
    ],
)
def test_an_uptime_in_words(uptime: Uptime, text: str) -> None:
    assert uptime_text(uptime) == text


# The uptime record of a profile

MINUTE: Final = 60.0
HOUR_S: Final = 3_600.0
LONG_AGO: Final = NOW - 48 * HOUR


class Record:
    """A monitor with an uptime record over scripted rows."""

    def __init__(self, *names: str, record: UptimeRecord | None = None, policy: AlertPolicy | None = None) -> None:
        self.names, self.seconds = list(names), 0.0
        self.fields: dict[str, dict[str, Any]] = {name: {} for name in names}
        self.events: list[Event] = []
        self.ends: list[str | None] = []
        monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy or AlertPolicy()})
        self.monitor = monitor.with_uptime_record(NO_PROFILE, record or UptimeRecord())

    @property
    def at(self) -> float:
        return NOW + self.seconds * 1000

    def row(self, name: str, *, is_up: bool) -> Environment:
        link = {"lastHeartbeat": self.at} if is_up else {"connectionId": None, "lastHeartbeat": None}
        return environment(name, **({"connectedAt": LONG_AGO} | self.fields.get(name, {}) | link))

    def poll(self, *down: str, after: float = 5.0, without: tuple[str, ...] = (), interval: float = 5.0) -> Record:
        self.seconds += after
        rows = [self.row(name, is_up=name not in down) for name in self.names if name not in without]
        return self.apply(listed(rows, self.at, interval=timedelta(seconds=interval)))

    def apply(self, outcome: Any) -> Record:
        self.monitor, changes = self.monitor.apply(NO_PROFILE, outcome, reading(self.at))
        self.events += flatten(changes.events)
        self.ends += [incident.ended_by for incident in changes.resolved]
        return self

    def hold(self, seconds: float, *down: str) -> Record:
        for _ in range(round(seconds / 60)):
            self.poll(*down, after=60)
        return self

    @property
    def record(self) -> UptimeRecord:
        return self.monitor.uptime_records[NO_PROFILE]

    def uptime(self, name: str) -> Uptime:
        return self.record.rows[clean(name)]

    def kinds(self, name: str) -> list[Kind]:
        turns = (Kind.ALERTING, Kind.NOT_ALERTING)
        return [event.kind for event in self.events if event.id == name and event.kind in turns]


@pytest.mark.parametrize(
    ("first", "second", "after", "watched_s"),
    [
        *((5, 5, 5, 5), (5, 5, 60, 60), (5, 5, 60.001, 0), (30, 30, 90, 90), (30, 30, 90.001, 0)),
        *((60, 5, 100, 100), (5, 60, 100, 100)),
    ],
)
def test_time_is_watched_between_listings_at_most_a_minute_or_three_of_the_longer_interval_apart(
    first: float, second: float, after: float, watched_s: float
) -> None:
    record = Record("a").poll(interval=first).poll(after=after, interval=second).record
    assert record.watched_ms == pytest.approx(watched_s * 1000)


def test_failed_polls_are_watched_and_no_time_asleep_or_in_quarantine_is() -> None:
    names = [f"e{number}" for number in range(10)]
    record = Record(*names).poll()
    record.seconds += 20
    assert record.apply(failed(at=record.at)).poll(after=20).record.watched_ms == pytest.approx(40_000)
    asleep_at = record.at
    record.seconds += 40
    assert record.apply(slept(asleep_at, record.at)).poll(after=1).record.watched_ms == pytest.approx(40_000)
    for _ in range(2):
        record.poll(without=tuple(names[:8]))
    assert record.monitor.fleet.by_profile[NO_PROFILE].quarantine is not None
    assert record.record.watched_ms == pytest.approx(40_000)
    assert record.poll().poll().record.watched_ms == pytest.approx(45_000)


def test_no_time_is_watched_while_all_heartbeats_stand_still() -> None:
    record = Record(*(f"e{number}" for number in range(12))).poll().poll()
    rows = [environment(f"e{number}", connectedAt=LONG_AGO, lastHeartbeat=record.at) for number in range(12)]
    for _ in range(20):
        record.seconds += 5
        record.apply(listed(rows, record.at))
    assert record.monitor.fleet.by_profile[NO_PROFILE].stall_detector.is_stalled
    assert record.record.watched_ms == pytest.approx(5_000 + 55_000)  # the stall is known after a minute


def test_time_of_a_row_with_a_doubtful_clock_is_neither_up_nor_down() -> None:
    record = Record("a", "b").poll().hold(10 * MINUTE)
    record.fields["a"] = {}
    impossible = environment("a", connectedAt=LONG_AGO, lastHeartbeat=record.at + 90 * 24 * HOUR)
    for _ in range(10):
        record.seconds += 60
        record.apply(listed([impossible, record.row("b", is_up=True)], record.at))
    assert record.uptime("a").is_up is None
    record.hold(30 * MINUTE)
    doubtful, usual = (record.uptime(name).after(record.record.watched_ms, is_up=True) for name in ("a", "b"))
    assert usual.watched - doubtful.watched == pytest.approx(10 * 60_000, rel=0.02)
    assert doubtful.share == 1.0


def test_a_vanished_row_is_down_until_the_return() -> None:
    record = Record("a", "b").poll().hold(20 * MINUTE)
    for _ in range(4):
        record.poll(without=("a",))
    assert record.uptime("a").is_up is False
    assert record.uptime("a").share == 1.0
    record.seconds += 3 * HOUR_S
    record.poll(without=("a",)).hold(20 * MINUTE)
    assert record.uptime("a").share is not None
    assert 0.9 < (record.uptime("a").share or 0) < 1.0


@pytest.mark.parametrize(
    ("fields", "is_first"),
    [
        ({"connectedAt": NOW + 5_000 - 24 * HOUR}, True),
        ({"connectedAt": NOW + 5_000 - 24 * HOUR + 1}, False),
        ({"metadata": {"os": "darwin"}}, False),
        ({"metadata": {"os": "win32"}}, False),
        ({"metadata": None}, True),
        ({"connectedAt": None}, False),
    ],
)
def test_servers_in_the_first_listing_count_at_once(fields: dict[str, Any], *, is_first: bool) -> None:
    record = Record("a", "b")
    record.fields["a"] = fields
    assert record.poll().uptime("a").is_first is is_first
    assert (
        record.poll("a")
        .monitor.decision_of(record.monitor.fleet.by_profile[NO_PROFILE].environments[clean("a")], record.at)
        .counts
        is is_first
    )


def test_a_row_first_seen_later_or_down_does_not_count_at_once() -> None:
    record = Record("a", "b").poll("a").poll()
    record.names.append("late")
    assert [record.poll().uptime(name).is_first for name in ("a", "b", "late")] == [False, True, False]


@pytest.mark.parametrize("lost_for", [0, HOUR_S])
def test_a_replacing_row_takes_the_uptime_over_without_an_outage(lost_for: float) -> None:
    record = Record("old", "b")
    listener = {"deviceId": "d", "listenerInstanceId": "server-0123456789abcdef"}
    record.fields["old"] = {**listener, "firstSeenAt": LONG_AGO, "lastSeenAt": NOW + 2 * HOUR}
    record.poll().hold(HOUR_S).hold(20 * MINUTE, "old").hold(40 * MINUTE)
    before = record.uptime("old").after(record.record.watched_ms, is_up=True)
    record.fields["old"] |= {"lastSeenAt": record.at}
    record.hold(lost_for, "old")
    record.fields["new"] = {**listener, "connectedAt": record.at + 5_000, "firstSeenAt": record.at + 5_000}
    record.names.append("new")
    record.poll("old")
    assert record.monitor.fleet.by_profile[NO_PROFILE].environments[clean("old")].replaced_by == "new"
    assert clean("old") not in record.record.rows
    assert record.uptime("new").is_up
    assert record.uptime("new").share == pytest.approx(before.share, rel=5e-3)
    assert record.hold(20 * MINUTE, "old").uptime("new").watched > before.watched


def test_uptimes_of_absent_rows_are_kept_for_two_weeks_of_watched_time() -> None:
    rows = {clean("left"): Uptime(9e8, 1e9, at=1e9, is_up=True), clean("a"): Uptime(9e8, 1e9, at=1e9)}
    record = Record("a", record=UptimeRecord(1e9, rows, has_begun=True)).poll()
    assert record.uptime("left").is_up is False
    record.poll()
    fortnight = 14 * 24 * HOUR
    old = replace(record.record, watched_ms=1e9 + fortnight - 20_000)
    record.monitor = record.monitor.with_uptime_record(NO_PROFILE, old)
    assert clean("left") in record.poll(after=15).record.rows
    assert clean("left") not in record.hold(11 * MINUTE).record.rows
    assert clean("a") in record.record.rows


@pytest.mark.parametrize(("longer_ms", "is_kept"), [(0, True), (1, False)])
def test_an_uptime_is_forgotten_after_two_weeks_without_the_row(longer_ms: float, *, is_kept: bool) -> None:
    rows = {clean("left"): Uptime(9e8, 1e9, at=0.0, is_up=False)}
    record = Record("a", record=UptimeRecord(14 * 24 * HOUR + longer_ms, rows, has_begun=True)).poll()
    assert (clean("left") in record.record.rows) is is_kept


def test_a_row_beginning_or_ceasing_to_count_is_an_event() -> None:
    almost = Uptime(is_up=True).after(47.9 * HOUR, is_up=True)
    edge = Uptime(up=0.905e8, watched=1e8 * 3, at=almost.at)._replace(up=0.9001 * 3e8)
    record = Record("new", "edge", "b", record=UptimeRecord(almost.at, {clean("new"): almost, clean("edge"): edge}))
    record.poll().hold(5 * MINUTE)
    assert (record.kinds("new"), record.kinds("edge")) == ([], [])
    record.hold(10 * MINUTE)
    assert record.kinds("new") == [Kind.ALERTING]
    record.poll("edge").hold(HOUR_S, "edge")
    assert record.kinds("edge") == []
    record.hold(5 * MINUTE)
    assert record.kinds("edge") == [Kind.NOT_ALERTING]


@pytest.mark.parametrize(
    ("lost", "text"),
    [
        (("edge",), "counts no more: up 89 % of 6 days; `A` changes that"),
        (("edge", "safe"), "laptop of edge counts no more: up 89 % of 6 days; `A` changes that"),
        (("edge", "verge"), "2 of these count no more: up 89 % of 6 days; `A` changes that"),
        (("safe",), None),
    ],
)
def test_the_end_of_an_incident_names_the_rows_without_further_alerts(lost: tuple[str, ...], text: str | None) -> None:
    always = Uptime(is_up=True).after(150 * HOUR, is_up=True)
    edge = always._replace(up=0.9001 * always.watched)
    rows = {clean("edge"): edge, clean("verge"): edge, clean("safe"): always, clean("b"): always}
    record = Record(*rows, record=UptimeRecord(always.at, rows)).poll().hold(HOUR_S, *lost)
    assert record.ends == []
    assert record.hold(5 * MINUTE).ends == [text]


def test_a_row_decided_by_another_rule_turns_without_an_event() -> None:
    almost = Uptime(is_up=True).after(47.9 * HOUR, is_up=True)
    policy = AlertPolicy(alert=EVERYTHING)
    record = Record("new", record=UptimeRecord(almost.at, {clean("new"): almost}), policy=policy).poll().hold(HOUR_S)
    assert (record.uptime("new").is_permanent, record.kinds("new")) == (True, [])


def test_the_refresh_of_many_rows_is_spread_over_listings() -> None:
    record = Record(*(f"e{number}" for number in range(1_100))).poll(interval=600).poll(after=600, interval=600)
    due = [uptime for uptime in record.record.rows.values() if uptime.at == 0.0]
    assert len(due) == 600
    for _ in range(2):
        record.poll()
    assert all(uptime.at > 0.0 for uptime in record.record.rows.values())


UPTIMES = st.builds(
    lambda watched, share, at, is_up: Uptime(round(watched * share), watched, at, is_up),
    st.integers(0, 10**9),
    st.floats(0, 1),
    st.integers(0, 10**12),
    st.sampled_from([True, False, None]),
)


@given(st.dictionaries(st.text(min_size=1, max_size=9).map(clean), UPTIMES, max_size=5))
def test_a_record_survives_the_file(rows: dict[Any, Uptime]) -> None:
    record = UptimeRecord(1e12, rows, has_begun=True)
    assert record_of(json.loads(json.dumps(uptime_content(record)))) == record


def test_the_file_keeps_the_rows_counting_at_once() -> None:
    rows = {clean("a"): Uptime(is_first=True), clean("b"): Uptime(), clean("c"): Uptime(1e9, 1e9, is_first=True)}
    found = record_of(uptime_content(UptimeRecord(1e9, rows)))
    assert found is not None
    assert [each.is_first for each in found.rows.values()] == [True, False, False]


@pytest.mark.parametrize(
    "content", [{}, {"watched_ms": 3}, {"rows": {}}, {"watched_ms": -1, "rows": {}}, {"watched_ms": "3", "rows": {}}]
)
def test_no_record_in_a_file(content: dict[str, object]) -> None:
    assert record_of(content) is None
    assert record_of({"watched_ms": 0, "rows": {}}) == UptimeRecord(has_begun=True)


@pytest.mark.parametrize(
    "row",
    [
        3,
        [],
        [1, 2, 3],
        [3, 2, 1, True],
        [-1, 2, 1, True],
        [1, 2, 11, True],
        [1, 2, -1, True],
        [1, 2, 1, 1],
        ["1", 2, 1, True],
    ],
)
def test_a_damaged_row_is_dropped_alone(row: object) -> None:
    found = record_of({"watched_ms": 10, "rows": {"bad": row, "good": [1, 2, 3, None]}, "first": ["good", "bad"]})
    assert found is not None
    assert found.rows == {clean("good"): Uptime(1.0, 2.0, 3.0, is_up=None, is_first=True)}


@pytest.mark.parametrize("first", [3, None, {"a": 1}, ["a", 3], [[]], "a"])
def test_a_damaged_list_of_first_rows_names_nobody(first: object) -> None:
    found = record_of({"watched_ms": 10, "rows": {"a": [1, 2, 3, True]}, "first": first})
    assert found is not None
    assert not found.rows[clean("a")].is_first
