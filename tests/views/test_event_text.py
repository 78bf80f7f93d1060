"""The wording and the look of each event."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import pytest
from support.block_night import BlockNight
from support.builders import NOW, beating, environment, failed, listed, reading, slept, watched

from envwatch.fleet.events import NO_PROFILE, NOT_RUNNING, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause
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
from envwatch.views.table.baseline import Baseline
from envwatch.views.table.table_view import View

if TYPE_CHECKING:
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Failed

HOURS = timedelta(hours=3)


def event(kind: Kind, **changes: object) -> Event:
    return Event(**({"kind": kind, "at": NOW, "id": clean("env-1"), "name": clean("nas")} | changes))  # type: ignore[arg-type]  # named one by one in each test


LOST = event(Kind.OFFLINE, incident=clean("inc-1"))


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
            event(Kind.TOGETHER, of=Kind.MODE, members=(event(Kind.MODE, field="mode", after="strict"),) * 2),
            "2 changed together: mode → strict: nas, nas",
        ),
        (
            event(
                Kind.TOGETHER,
                of=Kind.MODE,
                members=tuple(event(Kind.MODE, field="mode", after=mode) for mode in ("strict", "standard")),
            ),
            "2 changed together: mode: nas, nas",
        ),
        (
            event(Kind.TOGETHER, of=Kind.OFFLINE, members=(LOST, LOST, event(Kind.OFFLINE, name=clean("ci")))),
            "2 went offline together (+1 needs nobody): nas, nas",
        ),
        (
            event(Kind.TOGETHER, of=Kind.OFFLINE, members=(LOST, *(event(Kind.OFFLINE, name=clean("ci")),) * 2)),
            "1 went offline together (+2 need nobody): nas",
        ),
        (
            event(Kind.TOGETHER, of=Kind.ONLINE, members=(replace(LOST, kind=Kind.ONLINE), event(Kind.ONLINE))),
            "2 came back together: nas, nas",
        ),
        (event(Kind.NOT_BACK), "not back"),
        (event(Kind.NOT_BACK, reason="not back after 3m"), "not back after 3m"),
        (
            event(Kind.NOT_BACK, id=None, reason="not back after 3m", members=(event(Kind.NOT_BACK),) * 2),
            "2 not back after 3m: nas, nas",
        ),
        (event(Kind.NOT_BACK, id=None, members=(event(Kind.NOT_BACK),) * 2), "2 not back: nas, nas"),
        (
            event(Kind.TOGETHER, of=Kind.GONE, members=(event(Kind.GONE, name=clean("x" * 24)),) * 2),
            f"2 gone together: {'x' * 24}, {'x' * 24}",
        ),
        (
            event(Kind.TOGETHER, of=Kind.GONE, members=(event(Kind.GONE, name=clean("x" * 20 + "yzabc")),) * 2),
            f"2 gone together: {'x' * 19}…zabc, {'x' * 19}…zabc",
        ),
        (event(Kind.MISSING), "missing"),
        (event(Kind.RENAMED, before=None, after=None), "renamed – → nas"),
        (event(Kind.CLOCK_WRONG), "–"),
        (event(Kind.CLOCK_RIGHT), "clocks and heartbeats agree again"),
        (event(Kind.BLIND), "blind: no data since –"),
        (
            event(Kind.WHILE_BLIND, since=NOW - 3_600_000, members=(event(Kind.ONLINE),) * 2),
            "2 changed while blind · 2 came back (07:53:20Z to 08:53:20Z)",
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
            "6 changed while blind · 3 went offline · 1 gone · 1 came back (07:53:20Z to 08:53:20Z)",
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
                    *(event(Kind.MODE, after="standard"),) * 2,
                    event(Kind.APPEARED, after="online"),
                    event(Kind.ONLINE),
                    event(Kind.RETURNED, after="online"),
                    event(Kind.MODE, after="unrestricted"),
                    event(Kind.GONE),
                    *(event(Kind.OFFLINE),) * 2,
                ),
            ),
            "in 3h 12m since the last run: 2 offline, 1 gone, 1 unrestricted, 2 back, 1 new, 2 modes, 3 versions",
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
    assert texts[2] == "12 changed while blind · 12 came back (08:53:40Z to 16:53:20Z)"


@pytest.mark.parametrize("query", ["profile:home", "web"])
def test_an_empty_table_says_that_nothing_matches(query: str) -> None:
    fleet = Fleet({NO_PROFILE: watched([listed(beating(2))], ProfileState(profile_name=clean("work")))[0]})
    text = empty_table_text(fleet, View(query=parse(query)), reading())
    assert text == "Nothing matches. esc clears the filter, 0 resets the view."


def told(
    *rows: Environment, view: View | None = None, in_block: int = 0, lost: bool = False, is_past: bool = False
) -> str:
    """Return the text of an empty table after a listing of rows; `lost` rows are not listed any more."""
    outcomes = [listed(rows), *([listed([], NOW + 5_000 * n) for n in range(1, 20)] if lost else [])]
    fleet = Fleet({NO_PROFILE: watched(outcomes)[0]})
    return empty_table_text(fleet, view or View(), reading(), UTC, in_block=in_block, is_past=is_past)


def test_an_empty_table_says_where_the_rows_are_and_what_to_do() -> None:
    row = environment()
    assert told(row, in_block=1) == "Every environment is above, among the losses that need a person."
    narrowed = View(query=parse("env"))
    assert told(row, view=narrowed, in_block=1) == "1 match is above, among the losses that need a person."
    assert told(row, view=narrowed, in_block=1_234) == "1,234 matches are above, among the losses that need a person."
    assert told(row, view=View(query=parse("mode:strct"))) == (
        "Nothing matches: no environment has mode:strct; did you mean mode:strict? "
        "esc clears the filter, 0 resets the view."
    )
    nothing = "Watched since 08:53:20Z: run `letta server` on a machine to see the machine here."
    assert told() == told(view=narrowed) == f"No environments. {nothing}"
    assert told(row, lost=True).startswith("Every environment is gone: watched since 08:53:20Z, and the listing is")


def test_an_empty_comparison_names_the_baseline() -> None:
    baseline = Baseline.from_environments([], NOW)
    ends = " Differences appear here. = shows everything again, m marks a new baseline."
    assert told(environment(), view=View(compares=True)) == f"Nothing differs from the baseline.{ends}"
    marked = View(compares=True, baseline=baseline)
    assert told(environment(), view=marked) == f"Nothing differs from the baseline of 08:53:20Z.{ends}"


@pytest.mark.parametrize(
    ("failure", "is_past", "text"),
    [
        (None, False, "Asking for the first listing. All environments of this account appear here."),
        (None, True, "No listing yet at this moment. ] goes on."),
        (failed(), False, "No listing yet: timeout (r tries again now, q quits)"),
        (failed(), True, "No listing yet: timeout"),
        (failed(Cause.UNAUTHORIZED), True, "The server refused the key: key refused"),
        (
            replace(failed(), retry_after=timedelta(seconds=9)),
            False,
            "No listing yet: timeout (the server asked to wait, q quits)",
        ),
    ],
)
def test_a_table_before_the_first_listing_says_why(failure: Failed | None, text: str, *, is_past: bool) -> None:
    fleet = Fleet({NO_PROFILE: watched([failure] if failure else [])[0]})
    assert empty_table_text(fleet, View(), reading(), UTC, is_past=is_past) == text
    assert watched_since(fleet, reading(), UTC) is None
    assert empty_log_text(fleet, reading(), UTC).startswith("Nothing is listed yet.")


def test_the_log_covers_the_time_since_the_earliest_profile_and_says_when_envwatch_is_blind() -> None:
    names = clean("home"), clean("work")
    monitor = Monitor.create(dict.fromkeys(names, Limits()))
    for name, later in zip(names, (10_000, 0), strict=True):
        monitor, _ = monitor.apply(name, listed(beating(1), NOW + later), reading(NOW + later))
    assert watched_since(monitor.fleet, reading(NOW + 10_000), UTC) == "08:53:20Z"
    assert watched_text(monitor, reading(NOW + 10_000), UTC) == "watched since 08:53:20Z"
    blind, _ = monitor.apply(names[0], failed(at=ServerMs(NOW + 200_000)), reading(NOW + 200_000))
    assert watched_text(blind, reading(NOW + 200_000), UTC) == "watched since 08:53:20Z · blind now"


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
