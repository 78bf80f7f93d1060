"""The lines of `watch -o text`, as a log keeps them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, timedelta, timezone, tzinfo

import pytest
from support.builders import NOW, beating, environment, listed, reading
from support.hostile_fleet import WEAPONS

from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean, composed
from envwatch.views.events.cloud_events import word_of
from envwatch.views.events.event_stream import Layout, encoded, event_line, initial_line, layout_of

AT = ServerMs(NOW + 7_999)
LAYOUT = Layout(name=12)


def line(kind: Kind, layout: Layout = LAYOUT, **fields: object) -> str:
    given = {"id": clean("env-1"), "name": clean("mac-mini-2")} | fields
    return event_line(Event(kind=kind, at=AT, **given), layout)  # type: ignore[arg-type]


def members(count: int) -> tuple[Event, ...]:
    return tuple(Event(kind=Kind.OFFLINE, at=AT, id=clean(f"e{n}"), name=clean(f"box-{n}")) for n in range(count))


@pytest.mark.parametrize(
    ("zone", "time"),
    [(UTC, "2025-10-09T08:53:27Z"), (timezone(timedelta(hours=5, minutes=45)), "2025-10-09T14:38:27+05:45")],
)
def test_a_line_begins_with_its_time_in_a_zone(zone: tzinfo, time: str) -> None:
    event = Event(kind=Kind.ONLINE, at=AT, id=clean("env-1"), name=clean("nas"))
    assert event_line(event, Layout(3, zone=zone)).split()[0] == time


LASTED = timedelta(days=3, hours=4, minutes=5)
FLEET = {"id": None, "name": None}


@pytest.mark.parametrize(
    ("kind", "fields", "ending"),
    [
        (
            Kind.OFFLINE,
            {"reason": clean("heartbeat lost (121 s)"), "lasted": LASTED},
            "offline       mac-mini-2    heartbeat lost (121 s), was on for 3d 4h",
        ),
        (Kind.ONLINE, {"lasted": timedelta(seconds=252)}, "online        mac-mini-2    was off for 4m 12s"),
        (Kind.ONLINE, {}, "online        mac-mini-2"),
        (
            Kind.RETURNED,
            {"after": "offline", "lasted": LASTED},
            "returned      mac-mini-2    offline, was gone for 3d 4h",
        ),
        (Kind.APPEARED, {"after": "online"}, "appeared      mac-mini-2    online"),
        (Kind.GONE, {"reason": "no longer listed"}, "gone          mac-mini-2    no longer listed"),
        (Kind.RECONNECTED, {}, "reconnected   mac-mini-2    new connection, never seen offline"),
        (
            Kind.MODE,
            {"field": "mode", "before": "standard", "after": "unrestricted"},
            "mode          mac-mini-2    standard → unrestricted !",
        ),
        (
            Kind.NOT_ALERTING,
            {"reason": clean("up 88 % of 7 days")},
            "not-alerting  mac-mini-2    counts no more: up 88 % of 7 days; `A` changes that",
        ),
        (
            Kind.ACKNOWLEDGED,
            {"reason": clean("by ann (10.0.0.3) for 4h: disk")},
            "acknowledged  mac-mini-2    by ann (10.0.0.3) for 4h: disk",
        ),
        (
            Kind.ACKNOWLEDGED,
            {**FLEET, "members": members(2), "reason": clean("here: disk")},
            "acknowledged  2 environments  box-0, box-1, here: disk",
        ),
        (Kind.ONLINE, {"name": clean("")}, "online        env-1"),
        (
            Kind.TOGETHER,
            {**FLEET, "of": Kind.OFFLINE, "members": members(2), "reason": clean("pod p-7")},
            "offline       2 environments  together, all pod p-7",
        ),
        (
            Kind.WHILE_BLIND,
            {**FLEET, "since": NOW, "members": members(2)},
            "while-blind   2 environments  2 went offline (08:53:20Z to 08:53:27Z)",
        ),
        (
            Kind.BLIND,
            {**FLEET, "since": NOW, "reason": clean("timeout")},
            "blind         -             no data since 08:53:20Z, timeout",
        ),
    ],
)
def test_a_line_has_the_time_in_utc_the_word_the_name_and_the_details(
    kind: Kind, fields: dict[str, object], ending: str
) -> None:
    assert line(kind, LAYOUT, **fields) == f"2025-10-09T08:53:27Z  {ending}"


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("count", [0, 2])
def test_no_line_says_its_kind_twice_and_every_name_stands_in_one_column(kind: Kind, count: int) -> None:
    of = {"of": Kind.OFFLINE} if kind is Kind.TOGETHER else {}
    fields = {"since": NOW, "lasted": LASTED, "reason": clean("why"), "before": "a", "after": "b", "field": kind.value}
    text = line(kind, Layout(len("2 environments")), **fields, **of, members=members(count))
    _, word, name, details = re.split("  +", text)
    assert text.index(name) == len("2025-10-09T08:53:27Z  reconnected   ")
    assert name == ("2 environments" if count else "mac-mini-2")
    assert word == word_of(Event(kind=kind, at=AT, of=of.get("of")))
    assert not details.startswith((word, kind.value, "2 changed")) or kind is Kind.TOGETHER


def test_several_profiles_have_a_column() -> None:
    text = line(Kind.ONLINE, Layout(name=12, profile=6), profile=clean("work"))
    assert text == "2025-10-09T08:53:27Z  online        work    mac-mini-2"


def monitored(*names: str) -> Monitor:
    rows = [environment(f"env-{number}", connectionName=name) for number, name in enumerate(names, 1)]
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, listed(rows), reading())
    return monitor


def test_columns_are_as_wide_as_the_names_up_to_forty_cells_and_nothing_is_cut() -> None:
    assert layout_of(monitored("漢字漢字").fleet).name == 8
    assert layout_of(monitored("a", "b").fleet).name == len("2 environments")
    assert layout_of(monitored("a", "x" * 40).fleet).name == 40
    assert layout_of(monitored("a", "x" * 41).fleet).name == 40
    assert "x" * 41 in line(Kind.ONLINE, name=clean("x" * 41))


def test_names_that_look_alike_have_a_part_of_their_id() -> None:
    layout = layout_of(monitored("build", "build", "other").fleet)
    assert line(Kind.ONLINE, layout, name=clean("build")).endswith("online        build nv-1")
    assert line(Kind.ONLINE, layout, name=clean("other")).endswith("online        other")
    assert layout.name == len("3 environments")


def test_the_initial_line_has_the_state_and_why() -> None:
    rows = [*beating(1), environment("env-2", connectionId=None, lastHeartbeat=None)]
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, listed(rows), reading())
    up, down = monitor.fleet.environments
    assert initial_line(up, AT, LAYOUT, is_unknown=False).endswith("initial       laptop of env-1  online")
    assert initial_line(down, AT, LAYOUT, is_unknown=False).endswith("laptop of env-2  offline, disconnected")
    assert initial_line(down, AT, LAYOUT, is_unknown=True).endswith("laptop of env-2  unknown")


@pytest.mark.parametrize("weapon", WEAPONS)
def test_whatever_a_name_is_an_event_is_one_line_without_escapes(weapon: str) -> None:
    name = clean(weapon)
    data = encoded(composed(line(Kind.ONLINE, name=name)), "utf-8", ascii_only=False)
    assert data.endswith(b"\n")
    assert data.decode().removesuffix("\n").isprintable()


def test_where_only_ascii_can_be_shown_our_own_words_stay_readable() -> None:
    text = clean(line(Kind.MODE, name=clean("東"), field="mode", before="a", after="b"))
    assert encoded(text, "utf-8", ascii_only=True).endswith(b"mode          \\u6771            a -> b\n")
    assert encoded(text, "latin-1", ascii_only=False).endswith(b" a \\u2192 b\n")


def test_an_instant_outside_the_calendar_is_a_dash() -> None:
    event = replace(Event(kind=Kind.NOTICE, at=AT, reason=clean("x")), at=ServerMs(1e18))
    assert event_line(event, LAYOUT).startswith("–  notice")
