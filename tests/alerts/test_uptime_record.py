"""The record of uptimes: which time is watched, and the file."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, failed, listed, reading, slept

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.uptime_record import UptimeRecord, parse_record, unreadable_uptimes, uptime_content
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.tracking import EVERYTHING
from envwatch.fleet.uptime import Uptime
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.model.environment import Environment


HOUR: Final = 3_600_000.0
WEEK: Final = 7 * 24 * HOUR
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
        turns = (Kind.PAGES, Kind.DOES_NOT_PAGE)
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
    judge = record.poll("a").monitor.judge(reading(record.at))
    assert judge.decision_of(judge.fleet.by_profile[NO_PROFILE].environments[clean("a")]).counts is is_first


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


@pytest.mark.parametrize(("is_server", "counts"), [(True, True), (False, False)])
def test_a_row_replaced_in_the_first_minutes_passes_on_whether_the_loss_counts(
    *, is_server: bool, counts: bool
) -> None:
    record = Record("old", "b")
    listener = {"deviceId": "d", "listenerInstanceId": "server-0123456789abcdef"}
    connected_at = LONG_AGO if is_server else NOW - HOUR
    record.fields["old"] = {**listener, "firstSeenAt": LONG_AGO, "connectedAt": connected_at, "lastSeenAt": NOW + 5_000}
    record.poll()
    later = record.at + 5_000
    record.fields["new"] = {**listener, "connectedAt": later, "firstSeenAt": later}
    record.names.append("new")
    record.poll("old")
    assert clean("old") not in record.record.rows
    assert record.uptime("new").is_permanent is counts


def test_a_row_connected_for_a_day_keeps_its_place_over_the_row_replaced_before_the_first_listing() -> None:
    record = Record("old", "new")
    listener = {"deviceId": "d", "listenerInstanceId": "server-0123456789abcdef"}
    record.fields["old"] = {**listener, "firstSeenAt": LONG_AGO - HOUR, "lastSeenAt": LONG_AGO - 5_000}
    record.fields["new"] = {**listener, "firstSeenAt": LONG_AGO}
    assert record.poll("old").poll("old").uptime("new").is_permanent


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
    assert record.kinds("new") == [Kind.PAGES]
    record.poll("edge").hold(HOUR_S, "edge")
    assert record.kinds("edge") == []
    record.hold(5 * MINUTE)
    assert record.kinds("edge") == [Kind.DOES_NOT_PAGE]


@pytest.mark.parametrize(
    ("lost", "text"),
    [
        (("edge",), "no longer pages: up 89 % of 6 days; `A` changes that"),
        (("edge", "safe"), "laptop of edge no longer pages: up 89 % of 6 days; `A` changes that"),
        (("edge", "verge"), "2 of these no longer page: up 89 % of 6 days; `A` changes that"),
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
    assert parse_record(json.loads(json.dumps(uptime_content(record)))) == record


def test_the_file_keeps_the_rows_counting_at_once() -> None:
    rows = {clean("a"): Uptime(is_first=True), clean("b"): Uptime(), clean("c"): Uptime(1e9, 1e9, is_first=True)}
    found = parse_record(uptime_content(UptimeRecord(1e9, rows)))
    assert found is not None
    assert [each.is_first for each in found.rows.values()] == [True, False, False]


@pytest.mark.parametrize(
    "content", [{}, {"watched_ms": 3}, {"rows": {}}, {"watched_ms": -1, "rows": {}}, {"watched_ms": "3", "rows": {}}]
)
def test_no_record_in_a_file(content: dict[str, object]) -> None:
    assert parse_record(content) is None
    assert parse_record({"watched_ms": 0, "rows": {}}) == UptimeRecord(has_begun=True)


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
        [1, 2, 1, True, 3],
        [1, 2, 1, True, False],
        [1, 2, 1, True, True, True],
        [float("nan"), 2, 1, True],
        {"up": 1},
    ],
)
def test_a_damaged_row_is_dropped_alone(row: object) -> None:
    found = parse_record({"watched_ms": 10, "rows": {"bad": row, "good": [1, 2, 3, None, True]}})
    assert found is not None
    assert found.rows == {clean("good"): Uptime(1.0, 2.0, 3.0, is_up=None, is_first=True)}
    assert found.damaged == {"bad"}


def test_a_row_with_a_damaged_entry_counts_at_once_and_no_newcomer_does() -> None:
    content = {"watched_ms": 10, "rows": {"a": ["1", 2, 3, True], "b": [1, 2, 3, True]}}
    record = Record("a", "b", "late", record=parse_record(content)).poll()
    assert [record.uptime(name).is_first for name in ("a", "b", "late")] == [True, False, False]
    record.names.append("later")
    assert not record.poll().record.damaged, "the rows had their first listing"


def test_the_damaged_rows_of_a_record_are_taken_from_a_rebuilt_record_by_the_record_s_own_clock() -> None:
    own = UptimeRecord(100.0, {clean("good"): Uptime(at=90.0)}, has_begun=True, damaged=frozenset(map(clean, "abc")))
    rebuilt = {clean("a"): Uptime(5.0, 5.0, 30.0), clean("b"): Uptime(at=0.0), clean("good"): Uptime(at=1.0)}
    found = own.with_rows_of(UptimeRecord(40.0, rebuilt, has_begun=True))
    assert {id_: uptime.at for id_, uptime in found.rows.items()} == {"good": 90.0, "a": 90.0, "b": 60.0}
    assert found.watched_ms == 100.0
    assert found.damaged == {"c"}


@pytest.mark.parametrize(
    ("content", "unread"),
    [
        ({}, []),
        ({"watched_ms": 10, "rows": {"a": [1, 2, 3, True]}}, []),
        ({"watched_ms": float("nan"), "rows": {}}, ["the watched time"]),
        ({"watched_ms": 10, "rows": []}, ["the watched time"]),
        ({"watched_ms": 2, "rows": {"a": [1, 2, 3, True]}}, ["a"]),
        ({"watched_ms": 9, "rows": dict.fromkeys("cba", 0)}, ["a", "b", "c"]),
    ],
)
def test_each_unreadable_uptime_is_named(content: dict[str, object], unread: list[str]) -> None:
    assert list(unreadable_uptimes(content)) == unread
