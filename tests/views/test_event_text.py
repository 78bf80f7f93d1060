"""The wording and the look of events, on the screen and as lines of a log."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import pytest
from support.block_night import BlockNight
from support.builders import NOW, beating, environment, failed, listed, reading, watched
from support.hostile_fleet import WEAPONS

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE, NOT_RUNNING, Event, Kind
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause
from envwatch.model.text import clean, composed
from envwatch.query.language import parse
from envwatch.views.events.cloud_events import word_of
from envwatch.views.events.event_stream import Layout, encoded, event_line, initial_line, layout_of
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
    from collections.abc import Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Failed


HOURS = timedelta(hours=3)
A_MINUTE_AGO = NOW - 60_000


def event(kind: Kind, **changes: object) -> Event:
    return Event(**({"kind": kind, "at": NOW, "id": clean("env-1"), "name": clean("nas")} | changes))  # type: ignore[arg-type]  # named one by one in each test


LOST = event(Kind.OFFLINE, incident=clean("inc-1"))
NEEDLESS = event(Kind.OFFLINE, name=clean("ci"))
OFFLINE, ONLINE = event(Kind.OFFLINE), event(Kind.ONLINE)
MODE, UNRESTRICTED = event(Kind.MODE, field="mode"), event(Kind.MODE, after="unrestricted")


def repeated(members: Sequence[Event | int]) -> tuple[Event, ...]:
    """Return members; a number is how often the member before stands."""
    found: list[Event] = []
    for each in members:
        found += [each] if isinstance(each, Event) else [found[-1]] * (each - 1)
    return tuple(found)


def together(of: Kind, *members: Event | int, **changes: object) -> Event:
    return event(Kind.TOGETHER, of=of, members=repeated(members), **changes)


def while_blind(*members: Event | int, **changes: object) -> Event:
    """Return a group over an hour."""
    return event(Kind.WHILE_BLIND, since=NOW - 3_600_000, members=repeated(members), **changes)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (event(Kind.APPEARED, after="online"), "appeared, online"),
        (event(Kind.APPEARED, after="offline", reason="disconnected"), "appeared, offline · disconnected"),
        (event(Kind.ONLINE), "back online"),
        (event(Kind.ONLINE, lasted=timedelta(seconds=252)), "back online after 4m 12s"),
        (event(Kind.OFFLINE, reason="disconnected"), "went offline · disconnected"),
        (event(Kind.OFFLINE, reason="disconnected", lasted=HOURS), "went offline · disconnected · was on for 3h"),
        (event(Kind.PAGES, reason="up 90 % of 7 days"), "pages from now on: up 90 % of 7 days"),
        (event(Kind.DOES_NOT_PAGE, reason="up 88 % of 7 days"), "no longer pages: up 88 % of 7 days; `A` changes that"),
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
        (event(Kind.RENAMED, before=None, after=None), "renamed – → nas"),
        (event(Kind.FLAPPING), "flapping: it keeps coming and going"),
        (event(Kind.STEADY), "steady again"),
        (event(Kind.NOT_BACK), "not back"),
        (event(Kind.NOT_BACK, reason="not back after 3m"), "not back after 3m"),
        (event(Kind.HELD, reason="emptied"), "not believed yet: emptied"),
        (event(Kind.RELEASED, lasted=HOURS, reason="believed now"), "hold ended after 3h · believed now"),
        (
            event(Kind.STALLED, since=A_MINUTE_AGO),
            "the heartbeats of the platform stand still: none has advanced since 08:52:20Z",
        ),
        (event(Kind.RESUMED), "the heartbeats of the platform advance again"),
        (event(Kind.RESUMED, lasted=HOURS), "the heartbeats of the platform advance again after 3h"),
        (event(Kind.BLIND, since=A_MINUTE_AGO, reason="unreachable"), "blind: no data since 08:52:20Z · unreachable"),
        (event(Kind.BLIND), "blind: no data since –"),
        (
            event(Kind.VISIBLE, since=A_MINUTE_AGO, lasted=timedelta(seconds=60)),
            "data again: was blind for 1m (08:52:20Z to 08:53:20Z)",
        ),
        (event(Kind.FAILING, reason="timeout: no answer"), "polls fail · timeout: no answer"),
        (event(Kind.REACHED, lasted=HOURS), "polls succeed again after 3h"),
        (event(Kind.KEY_REFUSED, reason="401"), "key refused · 401"),
        (event(Kind.KEY_ACCEPTED, lasted=HOURS), "key accepted after 3h"),
        (event(Kind.CLOCK_WRONG), "–"),
        (event(Kind.CLOCK_RIGHT), "clocks and heartbeats agree again"),
        (
            event(Kind.SLEPT, since=A_MINUTE_AGO, lasted=timedelta(seconds=60)),
            "this machine slept for 1m (08:52:20Z to 08:53:20Z), nothing was seen",
        ),
        (event(Kind.NOTICE, reason="the log is full"), "the log is full"),
    ],
)
def test_each_event_has_its_text(one: Event, text: str) -> None:
    assert event_text(one, UTC) == text


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (together(Kind.OFFLINE, event(Kind.OFFLINE), 11, reason="pod p-7"), "11 went offline together: all pod p-7"),
        (
            together(Kind.OFFLINE, event(Kind.OFFLINE), 3_536, reason="pod p-7"),
            "3,536 went offline together: all pod p-7",
        ),
        (together(Kind.ONLINE, event(Kind.ONLINE), 3), "3 came back together: nas, nas, nas"),
        (
            together(Kind.BRANCH, event(Kind.BRANCH), 10),
            f"10 changed together: branch: {', '.join(['nas'] * 8)} and 2 more",
        ),
        (
            together(Kind.MODE, event(Kind.MODE, field="mode", after="strict"), 2),
            "2 changed together: mode → strict: nas, nas",
        ),
        (
            together(Kind.MODE, event(Kind.MODE, field="mode", after="strict"), event(Kind.MODE, field="mode")),
            "2 changed together: mode: nas, nas",
        ),
        (together(Kind.OFFLINE, LOST, LOST, NEEDLESS), "2 went offline together (+1 not paging): nas, nas"),
        (together(Kind.OFFLINE, LOST, NEEDLESS, NEEDLESS), "1 went offline together (+2 not paging): nas"),
        (
            together(Kind.ONLINE, replace(LOST, kind=Kind.ONLINE), event(Kind.ONLINE)),
            "2 came back together: nas, nas",
        ),
        (
            event(Kind.NOT_BACK, id=None, reason="not back after 3m", members=(event(Kind.NOT_BACK),) * 2),
            "2 not back after 3m: nas, nas",
        ),
        (event(Kind.NOT_BACK, id=None, members=(event(Kind.NOT_BACK),) * 2), "2 not back: nas, nas"),
        (
            together(Kind.GONE, event(Kind.GONE, name=clean("x" * 24)), 2),
            f"2 gone together: {'x' * 24}, {'x' * 24}",
        ),
        (
            together(Kind.GONE, event(Kind.GONE, name=clean("x" * 20 + "yzabc")), 2),
            f"2 gone together: {'x' * 19}…zabc, {'x' * 19}…zabc",
        ),
        (while_blind(ONLINE, 2), "2 changed while blind · 2 came back (07:53:20Z to 08:53:20Z)"),
        (
            while_blind(OFFLINE, 3, ONLINE, event(Kind.GONE), MODE),
            "6 changed while blind · 3 went offline · 1 gone · 1 came back (07:53:20Z to 08:53:20Z)",
        ),
        (while_blind(MODE, 2), "2 changed while blind (07:53:20Z to 08:53:20Z)"),
        (
            while_blind(
                *(event(Kind.VERSION, field="version"), 3, MODE, 2, event(Kind.APPEARED, after="online"), ONLINE),
                *(event(Kind.RETURNED, after="online"), UNRESTRICTED, event(Kind.GONE), OFFLINE, 2),
                reason=NOT_RUNNING,
            ),
            "in 1h since the last run: 2 offline, 1 gone, 1 unrestricted, 2 back, 1 new, 2 modes, 3 versions",
        ),
        (
            while_blind(
                event(Kind.RENAMED), event(Kind.CHANGED, field="os"), event(Kind.RESTARTED), reason=NOT_RUNNING
            ),
            "in 1h since the last run: 1 restarted, 2 other changes",
        ),
        (while_blind(reason=NOT_RUNNING), "nothing was recorded for 1h (07:53:20Z to 08:53:20Z)"),
    ],
)
def test_each_group_of_events_has_its_text(one: Event, text: str) -> None:
    assert event_text(one, UTC) == text


@pytest.mark.parametrize(
    ("one", "texts"),
    [
        (
            together(Kind.ONLINE, *(event(Kind.ONLINE, name=clean(f"web-{n}")) for n in range(3))),
            ["3 came back together: web-0, web-1, web-2", "3 came back together: web-0 and 2 more", "3 came back"],
        ),
        (
            together(Kind.OFFLINE, OFFLINE, 11, reason="pod p-7"),
            ["11 went offline together: all pod p-7", "11 went offline: all pod p-7"],
        ),
        (
            event(Kind.OFFLINE, reason="disconnected", lasted=HOURS),
            ["went offline · disconnected · was on for 3h", "went offline · disconnected", "went offline"],
        ),
    ],
)
def test_a_sentence_without_room_loses_names_or_its_end_and_no_part_of_a_word(one: Event, texts: list[str]) -> None:
    shortest = len(texts[-1])
    shown = [fitting_text(one, UTC, room) for room in range(60, shortest - 1, -1)]
    assert list(dict.fromkeys(shown)) == texts
    assert all(len(text) <= room for room, text in zip(range(60, shortest - 1, -1), shown, strict=True))
    assert fitting_text(one, UTC, shortest - 1) == texts[0]


@pytest.mark.parametrize(
    ("one", "style"),
    [
        (together(Kind.OFFLINE, OFFLINE, 3), "offline"),
        (OFFLINE, "offline"),
        (event(Kind.APPEARED, after="offline"), "offline"),
        (event(Kind.APPEARED, after="online"), "online"),
        (UNRESTRICTED, "unrestricted"),
        (event(Kind.MODE, before="unrestricted", after="standard"), "plain"),
        (event(Kind.BRANCH, after="unrestricted"), "plain"),
        (while_blind(event(Kind.VERSION), event(Kind.GONE), reason=NOT_RUNNING), "offline"),
        (while_blind(event(Kind.APPEARED, after="offline"), reason=NOT_RUNNING), "offline"),
        (while_blind(ONLINE, UNRESTRICTED, reason=NOT_RUNNING), "plain"),
        (while_blind(reason=NOT_RUNNING), "unknown"),
    ],
)
def test_each_event_has_its_look(one: Event, style: str) -> None:
    assert event_style(one).style == style


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_text_and_a_glyph_in_unicode_and_ascii(kind: Kind) -> None:
    one = event(kind, members=(event(Kind.ONLINE),), of=Kind.ONLINE if kind is Kind.TOGETHER else None)
    assert event_text(one, UTC)
    style = event_style(one)
    assert len(style.glyph) == len(style.ascii) == 1
    assert style.ascii.isascii()


def test_a_loss_looks_like_a_loss_only_with_a_line_of_the_block() -> None:
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


@pytest.mark.parametrize("query", ["profile:home", "web"])
def test_an_empty_table_says_nothing_matches(query: str) -> None:
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
    assert told(row, in_block=1) == "Every machine is above, among the losses that page."
    narrowed = View(query=parse("env"))
    assert told(row, view=narrowed, in_block=1) == "1 match is above, among the losses that page."
    assert told(row, view=narrowed, in_block=1_234) == "1,234 matches are above, among the losses that page."
    assert told(row, view=View(query=parse("mode:strct"))) == (
        "Nothing matches: no machine has mode:strct; did you mean mode:strict? "
        "esc clears the filter, 0 resets the view."
    )
    begin = row.label[:3]
    told_of_part = told(row, view=View(query=parse(f"name:{begin}")))
    assert told_of_part.startswith(f"Nothing matches: name:{begin} finds 0; name:*{begin}* finds 1. esc")
    nothing = "Watched since 08:53:20Z: run `letta server` on a machine to see it here."
    assert told() == told(view=narrowed) == f"No machines. {nothing}"
    assert told(row, lost=True).startswith("Every machine is gone: watched since 08:53:20Z, and the server lists none")


def test_an_empty_comparison_names_the_baseline() -> None:
    baseline = Baseline.from_environments([], NOW)
    ends = " Differences appear here. esc shows everything again, :baseline marks a new baseline."
    assert told(environment(), view=View(compares=True)) == f"Nothing differs from the baseline.{ends}"
    marked = View(compares=True, baseline=baseline)
    assert told(environment(), view=marked) == f"Nothing differs from the baseline of 08:53:20Z.{ends}"


@pytest.mark.parametrize(
    ("failure", "is_past", "text"),
    [
        (None, False, "Asking the server. All machines of this account appear here."),
        (None, True, "No answer yet at this moment. ] goes on."),
        (failed(), False, "No answer yet: timeout. Press r to try again now, or q to quit."),
        (failed(), True, "No answer yet: timeout."),
        (failed(Cause.UNAUTHORIZED), True, "The server refused the key: key refused."),
        (
            failed(Cause.UNAUTHORIZED),
            False,
            "The server refused the key: key refused. Press r to try again now, or q to quit.",
        ),
        (
            replace(failed(), retry_after=timedelta(seconds=9)),
            False,
            "No answer yet: timeout. The server asked to wait. Press q to quit.",
        ),
    ],
)
def test_a_table_before_the_first_listing_says_why(failure: Failed | None, text: str, *, is_past: bool) -> None:
    fleet = Fleet({NO_PROFILE: watched([failure] if failure else [])[0]})
    assert empty_table_text(fleet, View(), reading(), UTC, is_past=is_past) == text
    assert watched_since(fleet, reading(), UTC) is None
    assert empty_log_text(fleet, reading(), UTC).startswith("Nothing is known yet.")


@pytest.mark.parametrize("message", ["refused", "refused.", "Is the key still valid?"])
def test_a_key_in_a_variable_is_changed_by_a_restart(message: str) -> None:
    failure = replace(failed(Cause.UNAUTHORIZED), message=clean(message))
    fleet = Fleet({NO_PROFILE: watched([failure])[0]})
    new_keys_by = {NO_PROFILE: clean("set LETTA_API_KEY")}
    told = empty_table_text(fleet, View(), reading(), UTC, new_keys_by=new_keys_by)
    said = message if message.endswith(("?", ".")) else f"{message}."
    assert told == f"The server refused the key: {said} Quit with q, set LETTA_API_KEY, and start envwatch again."


def test_the_log_covers_the_time_since_the_earliest_profile_and_names_blindness() -> None:
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
    assert f"Nothing has happened since {sentence}, the first poll" in empty_log_text(monitor.fleet, reading(now), UTC)


# The lines of `watch -o text`.


AT = ServerMs(NOW + 7_999)
LAYOUT = Layout(name=12)


def log_line(kind: Kind, layout: Layout = LAYOUT, **fields: object) -> str:
    given = {"id": clean("env-1"), "name": clean("mac-mini-2")} | fields
    return event_line(Event(kind=kind, at=AT, **given), layout)  # type: ignore[arg-type]


def members(count: int) -> tuple[Event, ...]:
    return tuple(Event(kind=Kind.OFFLINE, at=AT, id=clean(f"e{n}"), name=clean(f"box-{n}")) for n in range(count))


LASTED = timedelta(days=3, hours=4, minutes=5)
FLEET = {"id": None, "name": None}


@pytest.mark.parametrize(
    ("kind", "fields", "ending"),
    [
        (
            Kind.OFFLINE,
            {"reason": clean("heartbeat lost (121 s)"), "lasted": LASTED},
            "offline        mac-mini-2    heartbeat lost (121 s), was on for 3d 4h",
        ),
        (Kind.ONLINE, {"lasted": timedelta(seconds=252)}, "online         mac-mini-2    was off for 4m 12s"),
        (
            Kind.NOT_BACK,
            {**FLEET, "members": members(2), "reason": clean("not back by 10:00")},
            "not-back       2 machines    by 10:00, box-0, box-1",
        ),
        (
            Kind.RETURNED,
            {"after": "offline", "lasted": LASTED},
            "returned       mac-mini-2    offline, was gone for 3d 4h",
        ),
        (
            Kind.MODE,
            {"field": "mode", "before": "standard", "after": "unrestricted"},
            "mode           mac-mini-2    standard → unrestricted !",
        ),
        (
            Kind.ACKNOWLEDGED,
            {"reason": clean("by ann (10.0.0.3) for 4h: disk")},
            "acknowledged   mac-mini-2    by ann (10.0.0.3) for 4h: disk",
        ),
        (
            Kind.ACKNOWLEDGED,
            {**FLEET, "members": members(2), "reason": clean("here: disk")},
            "acknowledged   2 machines    box-0, box-1, here: disk",
        ),
        (Kind.ONLINE, {"name": clean("")}, "online         env-1"),
        (
            Kind.TOGETHER,
            {**FLEET, "of": Kind.OFFLINE, "members": members(2), "reason": clean("pod p-7")},
            "offline        2 machines    together, all pod p-7",
        ),
        (
            Kind.WHILE_BLIND,
            {**FLEET, "since": NOW, "members": members(2)},
            "while-blind    2 machines    2 went offline (08:53:20Z to 08:53:27Z)",
        ),
        (
            Kind.BLIND,
            {**FLEET, "since": NOW, "reason": clean("timeout")},
            "blind          -             no data since 08:53:20Z, timeout",
        ),
    ],
)
def test_a_line_has_the_time_in_utc_the_word_the_name_and_the_details(
    kind: Kind, fields: dict[str, object], ending: str
) -> None:
    assert log_line(kind, LAYOUT, **fields) == f"2025-10-09T08:53:27Z  {ending}"


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("count", [0, 2])
def test_no_line_says_its_kind_twice_and_every_name_stands_in_one_column(kind: Kind, count: int) -> None:
    of = {"of": Kind.OFFLINE} if kind is Kind.TOGETHER else {}
    fields = {"since": NOW, "lasted": LASTED, "reason": clean("why"), "before": "a", "after": "b", "field": kind.value}
    text = log_line(kind, Layout(len("2 machines")), **fields, **of, members=members(count))
    _, word, name, details = re.split("  +", text)
    assert text.index(name) == len("2025-10-09T08:53:27Z  reconnected    ")
    assert name == ("2 machines" if count else "mac-mini-2")
    assert word == word_of(Event(kind=kind, at=AT, of=of.get("of")))
    assert not details.startswith((word, kind.value, "2 changed")) or kind is Kind.TOGETHER


def monitored(*names: str) -> Monitor:
    rows = [environment(f"env-{number}", connectionName=name) for number, name in enumerate(names, 1)]
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, listed(rows), reading())
    return monitor


def test_no_name_is_cut_and_equal_names_have_a_part_of_their_id() -> None:
    assert "x" * 41 in log_line(Kind.ONLINE, name=clean("x" * 41))
    layout = layout_of(monitored("build", "build", "other").fleet)
    assert log_line(Kind.ONLINE, layout, name=clean("build")).endswith("online         build nv-1")
    assert log_line(Kind.ONLINE, layout, name=clean("other")).endswith("online         other")
    assert layout.name == len("3 machines")
    text = log_line(Kind.ONLINE, Layout(name=12, profile=6), profile=clean("work"))
    assert text == "2025-10-09T08:53:27Z  online         work    mac-mini-2"


def test_the_initial_line_has_the_state_and_why() -> None:
    rows = [*beating(1), environment("env-2", connectionId=None, lastHeartbeat=None)]
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, listed(rows), reading())
    up, down = monitor.fleet.environments
    assert initial_line(up, AT, LAYOUT, is_unknown=False).endswith("initial        laptop of env-1  online")
    assert initial_line(down, AT, LAYOUT, is_unknown=False).endswith("laptop of env-2  offline, disconnected")
    assert initial_line(down, AT, LAYOUT, is_unknown=True).endswith("laptop of env-2  unknown")


@pytest.mark.parametrize("weapon", WEAPONS)
def test_with_any_name_an_event_is_one_line_without_escapes(weapon: str) -> None:
    name = clean(weapon)
    data = encoded(composed(log_line(Kind.ONLINE, name=name)), "utf-8", ascii_only=False)
    assert data.endswith(b"\n")
    assert data.decode().removesuffix("\n").isprintable()


def test_in_ascii_the_words_of_envwatch_stay_readable_and_an_impossible_time_is_a_dash() -> None:
    text = clean(log_line(Kind.MODE, name=clean("東"), field="mode", before="a", after="b"))
    assert encoded(text, "utf-8", ascii_only=True).endswith(b"mode           \\u6771            a -> b\n")
    assert encoded(text, "latin-1", ascii_only=False).endswith(b" a \\u2192 b\n")
    event = replace(Event(kind=Kind.NOTICE, at=AT, reason=clean("x")), at=ServerMs(1e18))
    assert event_line(event, LAYOUT).startswith("–  notice")
