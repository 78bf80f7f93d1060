"""The wording and the look of each event."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from support.block_night import BlockNight
from support.builders import NOW, beating, environment, listed, reading, slept, watched

from envwatch.fleet.events import NO_PROFILE, NOT_RUNNING, Event, Kind
from envwatch.fleet.fleet import Fleet
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.events.event_text import (
    empty_log_text,
    empty_table_text,
    event_style,
    event_text,
    fitting_text,
    watched_since,
    watched_text,
)
from envwatch.views.table.table_view import View

HOURS = timedelta(hours=3)


def event(kind: Kind, **changes: object) -> Event:
    return Event(**({"kind": kind, "at": NOW, "id": clean("env-1"), "name": clean("nas")} | changes))  # type: ignore[arg-type]  # named one by one in each test


@pytest.mark.parametrize(
    ("one", "text"),
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
        (event(Kind.ALERTING, reason="up 90 % of 7 days"), "counts from now on: up 90 % of 7 days"),
        (event(Kind.NOT_ALERTING, reason="up 88 % of 7 days"), "counts no more: up 88 % of 7 days; `A` changes that"),
        (event(Kind.GONE, reason="no longer listed"), "gone · no longer listed"),
        (event(Kind.RETURNED, after="online", lasted=HOURS), "listed again, online after 3h"),
        (event(Kind.RECONNECTED), "reconnected · new connection, never seen offline"),
        (event(Kind.RESTARTED), "restarted · new listener, never seen offline"),
        (event(Kind.MODE, field="mode", before="standard", after="strict"), "mode standard → strict"),
        (event(Kind.MODE, field="mode", before=None, after="unrestricted"), "mode – → unrestricted !"),
        (event(Kind.VERSION, field="version", before="0.9", after=None), "version 0.9 → –"),
        (event(Kind.BRANCH, field="branch", before="main", after="unrestricted"), "branch main → unrestricted"),
        (event(Kind.CHANGED, field="pod", before="p-1", after="p-2"), "pod p-1 → p-2"),
        (event(Kind.RENAMED, before="old", after="nas"), "renamed old → nas"),
        (event(Kind.FLAPPING), "flapping: it keeps coming and going"),
        (event(Kind.STEADY), "steady again"),
        (event(Kind.HELD, reason="emptied"), "not believed yet: emptied"),
        (
            event(Kind.STALLED, since=NOW - 60_000),
            "the heartbeats of the platform stand still: none has advanced since 08:52:20Z",
        ),
        (event(Kind.RESUMED), "the heartbeats of the platform advance again"),
        (event(Kind.RESUMED, lasted=HOURS), "the heartbeats of the platform advance again after 3h"),
        (event(Kind.RELEASED, lasted=HOURS, reason="believed now"), "hold ended after 3h · believed now"),
        (
            event(Kind.BLIND, since=NOW - 60_000, reason="unreachable"),
            "blind: no data since 08:52:20Z · unreachable",
        ),
        (
            event(Kind.VISIBLE, since=NOW - 60_000, lasted=timedelta(seconds=60)),
            "data again: was blind for 1m (08:52:20Z to 08:53:20Z)",
        ),
        (event(Kind.FAILING, reason="timeout: no answer"), "polls fail · timeout: no answer"),
        (event(Kind.REACHED, lasted=HOURS), "polls succeed again after 3h"),
        (event(Kind.KEY_REFUSED, reason="401"), "key refused · 401"),
        (event(Kind.KEY_ACCEPTED, lasted=HOURS), "key accepted after 3h"),
        (
            event(Kind.SLEPT, since=NOW - 60_000, lasted=timedelta(seconds=60)),
            "this machine slept for 1m (08:52:20Z to 08:53:20Z), nothing was seen",
        ),
        (event(Kind.NOTICE, reason="the log is full"), "the log is full"),
        (
            event(Kind.TOGETHER, of=Kind.OFFLINE, members=(event(Kind.OFFLINE),) * 11, reason="pod p-7"),
            "11 went offline together: all pod p-7",
        ),
        (
            event(Kind.TOGETHER, of=Kind.ONLINE, members=(event(Kind.ONLINE),) * 3),
            "3 came back together: nas, nas, nas",
        ),
        (
            event(Kind.TOGETHER, of=Kind.BRANCH, members=(event(Kind.BRANCH),) * 10),
            "10 changed together: branch: nas, nas, nas, nas, nas, nas, nas, nas and 2 more",
        ),
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
        (
            event(
                Kind.WHILE_BLIND,
                since=NOW - 11_520_000,
                reason=NOT_RUNNING,
                members=(
                    *(event(Kind.VERSION, field="version"),) * 3,
                    event(Kind.MODE, after="standard"),
                    event(Kind.APPEARED, after="online"),
                    event(Kind.ONLINE),
                    event(Kind.RETURNED, after="online"),
                    event(Kind.MODE, after="unrestricted"),
                    event(Kind.GONE),
                    *(event(Kind.OFFLINE),) * 2,
                ),
            ),
            "in 3h 12m since the last run: 2 offline, 1 gone, 1 unrestricted, 2 back, 1 new, 1 mode, 3 versions",
        ),
        (
            event(
                Kind.WHILE_BLIND,
                since=NOW - 90_000,
                reason=NOT_RUNNING,
                members=(event(Kind.RENAMED), event(Kind.CHANGED, field="os"), event(Kind.RESTARTED)),
            ),
            "in 1m 30s since the last run: 1 restarted, 2 other changes",
        ),
    ],
)
def test_each_event_has_its_text(one: Event, text: str) -> None:
    assert event_text(one, UTC) == text


LONGER = [
    (
        event(
            Kind.TOGETHER, of=Kind.ONLINE, members=tuple(event(Kind.ONLINE, name=clean(f"web-{n}")) for n in range(3))
        ),
        [
            "3 came back together: web-0, web-1, web-2",
            "3 came back together: web-0 and 2 more",
            "3 came back",
        ],
    ),
    (
        event(Kind.TOGETHER, of=Kind.OFFLINE, members=(event(Kind.OFFLINE),) * 11, reason="pod p-7"),
        ["11 went offline together: all pod p-7", "11 went offline: all pod p-7"],
    ),
    (
        event(Kind.OFFLINE, reason="disconnected", lasted=HOURS),
        ["went offline · disconnected · was on for 3h", "went offline · disconnected", "went offline"],
    ),
]


@pytest.mark.parametrize(("one", "texts"), LONGER)
def test_a_sentence_without_room_loses_names_or_its_end_and_never_a_part_of_a_word(
    one: Event, texts: list[str]
) -> None:
    shortest = len(texts[-1])
    shown = [fitting_text(one, UTC, room) for room in range(60, shortest - 1, -1)]
    assert list(dict.fromkeys(shown)) == texts
    assert all(len(text) <= room for room, text in zip(range(60, shortest - 1, -1), shown, strict=True))
    assert fitting_text(one, UTC, shortest - 1) == texts[0]


def test_counts_of_thousands_have_a_separator() -> None:
    lost = event(Kind.TOGETHER, of=Kind.OFFLINE, members=(event(Kind.OFFLINE),) * 3_536, reason="pod p-7")
    assert event_text(lost, UTC) == "3,536 went offline together: all pod p-7"


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_text_and_a_glyph_in_unicode_and_ascii(kind: Kind) -> None:
    one = event(kind, members=(event(Kind.ONLINE),), of=Kind.ONLINE if kind is Kind.TOGETHER else None)
    assert event_text(one, UTC)
    style = event_style(one)
    assert len(style.glyph) == len(style.ascii) == 1
    assert style.ascii.isascii()


def test_a_group_looks_like_its_members() -> None:
    lost = event(Kind.TOGETHER, of=Kind.OFFLINE, members=(event(Kind.OFFLINE),) * 3)
    assert event_style(lost).style == event_style(event(Kind.OFFLINE)).style == "offline"


def test_a_loss_looks_like_a_loss_while_the_block_needs_a_person_for_it() -> None:
    one = BlockNight().poll("a+ b+", after=0).poll("ax b+")
    (lost,) = [each for each in one.monitor.event_log if each.kind is Kind.OFFLINE]
    assert event_style(lost, one.block).style == "offline"
    other = replace(lost, id=clean("b"))
    assert event_style(other, one.block).style == "gone"
    assert event_style(lost, one.ack("a").block).style == "gone"
    assert event_style(lost, one.poll("a+ b+").block).style == "gone"
    again = one.hold(65, "a+ b+").poll("ax bx")
    assert [event_style(each, again.block).style for each in again.monitor.event_log if each.kind is Kind.OFFLINE] == [
        "gone",
        "offline",
        "offline",
    ], "the first loss of a is over"
    assert event_style(event(Kind.KEY_REFUSED), one.block).style == "late"


def test_what_changed_since_the_last_run_looks_like_a_loss_only_if_it_has_one() -> None:
    def style(*members: Event) -> str:
        return event_style(event(Kind.WHILE_BLIND, reason=NOT_RUNNING, since=NOW, members=members)).style

    assert style(event(Kind.VERSION), event(Kind.GONE)) == style(event(Kind.APPEARED, after="offline")) == "offline"
    assert style(event(Kind.ONLINE), event(Kind.MODE, after="unrestricted")) == "plain"
    assert style() == "unknown"
    assert event_text(event(Kind.WHILE_BLIND, reason=NOT_RUNNING, since=NOW - 3_600_000), UTC) == (
        "nothing was recorded for 1h (07:53:20Z to 08:53:20Z)"
    )


def test_an_environment_that_appears_offline_looks_offline() -> None:
    assert event_style(event(Kind.APPEARED, after="offline")).style == "offline"
    assert event_style(event(Kind.APPEARED, after="online")).style == "online"


def test_only_a_change_to_unrestricted_is_highlighted() -> None:
    assert event_style(event(Kind.MODE, after="unrestricted")).style == "unrestricted"
    assert event_style(event(Kind.MODE, before="unrestricted", after="standard")).style == "plain"
    assert event_style(event(Kind.BRANCH, after="unrestricted")).style == "plain"


def test_the_events_of_a_real_fleet_have_texts() -> None:
    rows = beating(12)
    asleep_from, awake_at = NOW + 20_000, NOW + 8 * 3_600_000
    _, events = watched(
        [
            listed(rows),
            listed([*rows[:-1], environment("env-12", connectionId=None)], NOW + 5_000),
            listed(beating(12, NOW + 10_000, connectionId=None), NOW + 10_000),
            slept(asleep_from, awake_at),
            listed(beating(12, awake_at), awake_at),
        ]
    )
    texts = [event_text(one, UTC) for one in events]
    assert texts[0].startswith("went offline · disconnected · was on for 1h")
    assert texts[1].startswith("11 went offline together")
    assert texts[2] == "12 changed while blind · 12 back online (08:53:40Z to 16:53:20Z)"


@pytest.mark.parametrize("query", ["profile:home", "web"])
def test_an_empty_table_says_that_nothing_matches(query: str) -> None:
    fleet = Fleet({NO_PROFILE: watched([listed(beating(2))], ProfileState(profile_name=clean("work")))[0]})
    text = empty_table_text(fleet, View(query=parse(query)), reading())
    assert text == "Nothing matches. esc clears the filter, 0 resets the view."


MIDNIGHT = NOW + 54_400_000
"""The end of the day of `NOW`, in UTC."""


@pytest.mark.parametrize(
    ("now", "sentence", "title"),
    [
        (MIDNIGHT - 1, "08:53:20Z", "08:53:20Z"),
        (MIDNIGHT, "2025-10-09 08:53:20Z", "2025-10-09 08:53Z"),
    ],
)
def test_the_begin_of_watching_has_its_date_on_another_day(now: float, sentence: str, title: str) -> None:
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, listed(beating(2)), reading())
    assert watched_since(monitor.fleet, reading(now), UTC) == sentence
    assert watched_text(monitor, reading(now), UTC) == f"watched since {title}"
    assert f"Nothing has happened since {sentence}, the first listing" in empty_log_text(
        monitor.fleet, reading(now), UTC
    )
