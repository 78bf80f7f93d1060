"""One sentence for each event, and how it looks in the log."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from support.builders import NOW, beating, environment, listed, slept, watched

from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.fleet import Fleet
from envwatch.fleet.fleets import Fleets
from envwatch.model.text import Clean
from envwatch.query.language import parse
from envwatch.views.event_text import event_style, event_text, nothing_because
from envwatch.views.table_view import View

HOURS = timedelta(hours=3)


def event(kind: Kind, **changes: object) -> Event:
    return Event(**({"kind": kind, "at": NOW, "id": Clean("env-1"), "name": Clean("nas")} | changes))  # type: ignore[arg-type]  # named one by one in each test


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (event(Kind.APPEARED, after="online"), "appeared, online"),
        (event(Kind.APPEARED, after="offline", reason="disconnected"), "appeared, offline · disconnected"),
        (event(Kind.ONLINE), "back online"),
        (event(Kind.ONLINE, lasted=timedelta(seconds=252)), "back online after 4m 12s"),
        (event(Kind.OFFLINE, reason="disconnected"), "went offline · disconnected"),
        (
            event(Kind.OFFLINE, reason="heartbeat lost (121 s)", lasted=HOURS),
            "went offline · heartbeat lost (121 s) · was on for 3h",
        ),
        (event(Kind.GONE, reason="no longer listed"), "gone · no longer listed"),
        (event(Kind.RETURNED, after="online", lasted=HOURS), "listed again, online after 3h"),
        (event(Kind.RECONNECTED), "reconnected · new connection, never seen offline"),
        (event(Kind.RESTARTED), "restarted · new listener, never seen offline"),
        (event(Kind.MODE, field="mode", before="standard", after="strict"), "mode standard → strict"),
        (event(Kind.MODE, field="mode", before=None, after="unrestricted"), "mode – → unrestricted !"),
        (event(Kind.VERSION, field="version", before="0.9", after=None), "version 0.9 → –"),
        (event(Kind.BRANCH, field="branch", before="main", after="unrestricted"), "branch main → unrestricted"),
        (event(Kind.CHANGED, field="pod", before="p-1", after="p-2"), "pod p-1 → p-2"),
        (event(Kind.RENAMED, before="old"), "renamed · was old"),
        (event(Kind.FLAPPING), "flapping: it keeps coming and going"),
        (event(Kind.STEADY), "steady again"),
        (event(Kind.HELD, reason="emptied"), "not believed yet: emptied"),
        (event(Kind.STALLED), "upstream heartbeats stalled: no heartbeat of any row advances"),
        (event(Kind.RESUMED), "upstream heartbeats advance again"),
        (
            event(Kind.TOGETHER, of=Kind.OFFLINE, members=(event(Kind.OFFLINE),) * 11, reason="pod p-7"),
            "11 lost together: all pod p-7",
        ),
        (event(Kind.TOGETHER, of=Kind.ONLINE, members=(event(Kind.ONLINE),) * 3), "3 back together"),
        (event(Kind.TOGETHER, of=Kind.BRANCH, members=(event(Kind.BRANCH),) * 10), "10 changed together: branch"),
        (
            event(Kind.WHILE_BLIND, since=NOW - 3_600_000, members=(event(Kind.ONLINE),) * 2),
            "2 changed while blind · 2 back online (07:53:20Z to 08:53:20Z)",
        ),
        (
            event(
                Kind.WHILE_BLIND,
                since=NOW - 3_600_000,
                members=(
                    *(event(Kind.OFFLINE),) * 3,
                    event(Kind.ONLINE),
                    event(Kind.GONE),
                    event(Kind.MODE, field="mode"),
                ),
            ),
            "6 changed while blind · 3 went offline · 1 gone · 1 back online (07:53:20Z to 08:53:20Z)",
        ),
        (
            event(Kind.WHILE_BLIND, since=NOW - 3_600_000, members=(event(Kind.MODE, field="mode"),) * 2),
            "2 changed while blind (07:53:20Z to 08:53:20Z)",
        ),
    ],
)
def test_each_event_has_its_sentence(told: Event, text: str) -> None:
    assert event_text(told, UTC) == text


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_sentence_and_a_look_in_both_alphabets(kind: Kind) -> None:
    told = event(kind, members=(event(Kind.ONLINE),), of=Kind.ONLINE if kind is Kind.TOGETHER else None)
    assert event_text(told, UTC)
    face = event_style(told)
    assert len(face.glyph) == len(face.ascii) == 1
    assert face.ascii.isascii()


def test_a_group_looks_like_what_happened_together() -> None:
    lost = event(Kind.TOGETHER, of=Kind.OFFLINE, members=(event(Kind.OFFLINE),) * 3)
    assert event_style(lost).style == event_style(event(Kind.OFFLINE)).style == "offline"


def test_who_appears_offline_looks_offline() -> None:
    assert event_style(event(Kind.APPEARED, after="offline")).style == "offline"
    assert event_style(event(Kind.APPEARED, after="online")).style == "online"


def test_only_the_drift_to_unrestricted_stands_out() -> None:
    assert event_style(event(Kind.MODE, after="unrestricted")).style == "unrestricted"
    assert event_style(event(Kind.MODE, before="unrestricted", after="standard")).style == "plain"
    assert event_style(event(Kind.BRANCH, after="unrestricted")).style == "plain"


def test_what_a_real_fleet_tells_can_be_said() -> None:
    rows = beating(12)
    asleep_from, awake_at = NOW + 20_000, NOW + 8 * 3_600_000
    _, told = watched(
        [
            listed(rows),
            listed([*rows[:-1], environment("env-12", connectionId=None)], NOW + 5_000),
            listed(beating(12, NOW + 10_000, connectionId=None), NOW + 10_000),
            slept(asleep_from, awake_at),
            listed(beating(12, awake_at), awake_at),
        ]
    )
    said = [event_text(one, UTC) for one in told]
    assert said[0].startswith("went offline · disconnected · was on for 1h")
    assert said[1].startswith("11 lost together")
    assert said[2] == "12 changed while blind · 12 back online (08:53:40Z to 16:53:20Z)"


@pytest.mark.parametrize(
    ("query", "profiles", "is_told"),
    [
        ("profile:home", [NO_PROFILE], True),
        ("web profile:home", [NO_PROFILE], True),
        ("web", [NO_PROFILE], False),
        ("!profile:none", [NO_PROFILE], False),
        ("profile:away", [Clean("home"), Clean("work")], False),
    ],
)
def test_who_asks_for_a_profile_where_one_alone_is_watched_is_told_so(
    query: str, profiles: list[Clean], *, is_told: bool
) -> None:
    fleets = Fleets({name: watched([listed(beating(2))], Fleet(profile=name))[0] for name in profiles})

    told = nothing_because(fleets, View(query=parse(query)))
    assert told.startswith("Nothing matches")
    assert ("one profile alone is watched" in told) is is_told
