"""The words for a state: verdict, duration, cause and evidence, doubts about a listing, and moments of the past."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, key_of, listed, reading, slept, watched
from support.policies import soon
from support.tracked_environments import contexts_at, tracked
from support.tracked_environments import fleet_of as rows_of

from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import Silence
from envwatch.fleet import presence
from envwatch.fleet.anomalies import StallDetector
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.plausibility import Doubt
from envwatch.fleet.presence import NEVER_LISTED, Presence
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Outcome, Slept
from envwatch.model.text import EMPTY, clean
from envwatch.query.state_looks import PRESENCE_STYLES, cause_text, countdown_text, glyph_of, short_reason, style_of
from envwatch.views.pane.legend import state_entries
from envwatch.views.pane.remedies import remedies
from envwatch.views.pane.state_details import mark_lines, missed_beats, proof, state_headline
from envwatch.views.state_style import (
    ago_text,
    clock_text_of,
    clock_warning,
    doubt_of,
    doubt_text,
    hooks_text,
    instant_text,
    last_text,
    lasted_text,
    marked_text,
    mistake_text,
    moment_text,
    quarantine_text,
    reasons,
    speed_text,
    state_text,
    trouble_text,
    why_unknown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.presence import Verdict
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Failed, Outcome


ROW = environment("env-1")


@pytest.mark.parametrize(
    ("verdict", "state", "why", "short"),
    [
        (presence.ONLINE, "online", [], None),
        (presence.LATE, "late", ["a ping was missed"], "ping missed"),
        (presence.DISCONNECTED, "offline", ["disconnected"], "disconnected"),
        (presence.HEARTBEAT_LOST, "offline", ["heartbeat lost"], "heartbeat lost"),
        (presence.NEVER_BEAT, "offline", ["no heartbeat"], "no heartbeat"),
        (presence.GONE, "gone", ["no longer listed"], "not listed"),
        (presence.MISSING, "offline", ["gone"], "gone"),
        (presence.NEVER_LISTED, "offline", ["never seen"], "never seen"),
    ],
)
def test_each_verdict_has_its_words(verdict: Verdict, state: str, why: list[str], short: str | None) -> None:
    tracked = TrackedEnvironment(environment=ROW, verdict=verdict)
    assert state_text(tracked, is_unknown=False) == state
    assert [*reasons(tracked)] == why
    assert short_reason(tracked) == short
    assert len(short or "") <= 14
    assert [*reasons(replace(tracked, is_flapping=True))] == [*why, "flapping"]
    word = PRESENCE_STYLES[verdict.presence].word
    assert (state_text(tracked, is_unknown=True), last_text(tracked)) == ("unknown", f"was {word}")


def test_a_replaced_row_has_the_other_row_as_reason_and_a_flapping_row_its_changes() -> None:
    tracked = TrackedEnvironment(environment=ROW, verdict=presence.DISCONNECTED, is_flapping=True)
    replaced = replace(tracked, replaced_by=clean("env-2"), replaced_by_name=clean("new"))
    assert [*reasons(replaced)] == ["replaced by new"] == [short_reason(replaced)]
    assert last_text(replace(tracked, verdict=presence.UNTIMED)) is None
    flapping = replace(tracked, verdict=presence.ONLINE, transitions=(NOW, NOW))
    assert cause_text(flapping, NOW, Limits()) == "2 changes/h"


@pytest.mark.parametrize(
    ("left_s", "long", "short"),
    [
        (50, "offline in 50 s", "off in 50 s"),
        (0.6, "offline in 1 s", "off in 1 s"),
        (0, "offline at the next poll", "off next poll"),
        (-1, "offline at the next poll", "off next poll"),
    ],
)
def test_a_late_row_goes_offline_at_the_limit_or_with_a_listing(left_s: float, long: str, short: str) -> None:
    assert (countdown_text(left_s), countdown_text(left_s, is_short=True)) == (long, short)
    limit_s = Limits().online_for.total_seconds()
    row = replace(ROW, last_heartbeat_at=NOW, last_seen_at=NOW, connected_at=NOW)
    late = TrackedEnvironment(environment=row, verdict=presence.LATE)
    assert cause_text(late, NOW + (limit_s - left_s) * 1000, Limits()) == short
    assert cause_text(replace(late, clock_suspect=True), NOW, Limits()) == "ping missed"


@pytest.mark.parametrize(
    ("outcomes", "since", "why"),
    [
        ([listed([ROW]), failed(at=NOW + 300_000)], NOW, "timeout: timeout"),
        ([listed([ROW]), slept(NOW, NOW + 300_000)], NOW, "no answer has come since"),
        ([listed([environment("env-1", lastHeartbeat=NOW * 1000)])], None, "its heartbeat's time cannot be true"),
    ],
)
def test_an_unknown_state_has_a_begin_and_a_reason(outcomes: list[Outcome], since: float | None, why: str) -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for outcome in outcomes:
        now = outcome.awake if isinstance(outcome, Slept) else outcome.ended
        monitor, _ = monitor.apply(NO_PROFILE, outcome, now)
    (tracked,) = monitor.fleet.environments
    at = reading(NOW if since is None else NOW + 300_000)
    assert why_unknown(tracked, monitor.fleet.for_environment(tracked), at) == (since, why)


def test_the_time_before_an_event_is_told_if_known() -> None:
    event = Event(kind=Kind.OFFLINE, at=NOW)
    assert lasted_text(event, "was on for") == ""
    assert lasted_text(replace(event, lasted=timedelta(seconds=130)), "was on for") == "was on for 2m 10s"


DAY = 86_400_000.0


# The head of the detail pane.


def listed_state(*rows: Environment) -> ProfileState:
    return watched([listed(rows)])[0]


def head(
    profile_state: ProfileState, at: float = NOW, events: Sequence[Event] = (), skew: float = 0.0
) -> tuple[str, str]:
    tracked, now = next(iter(profile_state.environments.values())), reading(at, skew)
    return " ".join(piece.text for piece in state_headline(tracked, profile_state, events, now)), proof(
        tracked, profile_state, now, UTC
    )


def head_of(at: float = NOW, **changes: Any) -> tuple[str, str]:
    return head(listed_state(environment("env-1", **changes)), at)


def after(*outcomes: Outcome, at: float) -> tuple[str, str]:
    profile_state, events = watched(outcomes)
    return head(profile_state, at, [event for event in events if event.id == "env-1"])


DOWN = {"connectionId": None, "lastHeartbeat": None}


@pytest.mark.parametrize(
    ("changes", "head", "evidence"),
    [
        ({}, "● ON for 1h · beat 12s ago", "connected since 07:53:20Z · last heartbeat 08:53:08Z"),
        (
            {"lastSeenAt": NOW - 3 * DAY - 25_200_000, **DOWN},
            "○ OFF for 3d 7h · disconnected",
            "no live connection · last sign of life 2025-10-06 01:53Z",
        ),
        ({"lastHeartbeat": None}, "○ OFF for 12s · no heartbeat", "connected, without a heartbeat"),
        (
            {"lastHeartbeat": NOW - 44_999},
            "● ON for 1h · beat 44s ago",
            "connected since 07:53:20Z · last heartbeat 08:52:35Z",
        ),
        (
            {"lastHeartbeat": NOW - 45_000},
            "◐ LATE for 0s · offline in 75 s",
            "last heartbeat 08:52:35Z · 1 of 4 pings missed · the limit is 120 s",
        ),
        (
            {"lastHeartbeat": NOW - 119_000},
            "◐ LATE for 1m · offline in 1 s",
            "last heartbeat 08:51:21Z · 3 of 4 pings missed · the limit is 120 s",
        ),
        (
            {"lastHeartbeat": NOW - 120_000},
            "○ OFF for 2m · heartbeat lost",
            "connected, but no heartbeat since 08:51:20Z · the limit is 120 s",
        ),
    ],
)
def test_the_head_has_state_duration_cause_and_evidence(changes: dict[str, Any], head: str, evidence: str) -> None:
    assert head_of(**changes) == (head, evidence)


def test_the_head_of_an_offline_row_has_the_time_before() -> None:
    row, lost = environment("env-1"), environment("env-1", connectionId=None, lastHeartbeat=None)
    assert after(listed([row]), listed([lost], NOW + 5_000), at=NOW + 13_000) == (
        "○ OFF for 8s · disconnected · was on for 1h",
        "no live connection since 08:53:25Z · last sign of life 08:53:08Z",
    )


def test_a_gone_row_has_the_number_of_listings_without_the_row() -> None:
    rows = [environment("env-1"), environment("env-2")]
    missing = [listed(rows[1:], NOW + 5_000 * number) for number in (1, 2)]
    profile_state, _ = watched([listed(rows), *missing])
    tracked, now = profile_state.environments[rows[0].id], reading(NOW + 12_000)
    assert [piece.text for piece in state_headline(tracked, profile_state, (), now)] == [
        "· GONE for 2s",
        "· no longer listed",
    ]
    assert (
        proof(tracked, profile_state, now, UTC) == "absent from 2 complete polls in a row · last sign of life 08:53:08Z"
    )


@pytest.mark.parametrize(
    ("late", "headline_text", "ends"),
    [
        (15_000, "◐ LATE for 20s · offline in 55 s", "the limit is 120 s"),
        (15_001, "◐ LATE for 20s", " · no answer for 15s"),
        (60_000, "◐ LATE for 1m", " · no answer for 1m"),
        (60_001, "? UNKNOWN for 1m · was late", " · no answer for 1m"),
    ],
)
def test_without_listings_nothing_is_counted_and_then_nothing_is_known(
    late: float, headline_text: str, ends: str
) -> None:
    row = environment("env-1", lastHeartbeat=NOW - 50_000)
    found = after(listed([row]), failed(at=NOW + late), at=NOW + late)
    assert found[0] == headline_text
    assert found[1].endswith(ends)


def test_no_environment_is_called_silent_during_a_standstill_of_all_heartbeats() -> None:
    row = environment("env-1", lastHeartbeat=NOW - 50_000)
    profile_state = replace(listed_state(row), stall_detector=StallDetector(is_stalled=True))
    assert head(profile_state) == (
        "? UNKNOWN · was late",
        "connected · the platform sends no new heartbeats: silence proves nothing",
    )
    assert missed_beats(profile_state.environments[row.id], profile_state, reading()) is None


def test_with_contradicting_clocks_the_skew_check_is_the_evidence_without_a_countdown() -> None:
    hour = 3_600_000.0
    rows = [
        listed([environment("env-1", lastHeartbeat=NOW + at - 1000)], NOW + at, skew=hour, dated=False)
        for at in (0, 30_000, 60_000)
    ]
    found = head(watched(rows)[0], NOW + 65_000, skew=hour)
    assert found[0].endswith("· clock?")
    assert "beat" not in found[0]
    assert found[1] == "clocks contradict: the verdict uses a heartbeat age of at least 5s"


@pytest.mark.parametrize(
    ("is_acked", "is_silenced", "texts"),
    [
        (False, False, ["1m ago by ops-1, until 09:13: on it", "silenced until 09:53 by ops-2: disks"]),
        (True, False, ["just now on this machine", "silenced until 09:53 by ops-2: disks"]),
        (False, True, ["1m ago by ops-1, until 09:13: on it"]),
        (True, True, ["just now on this machine"]),
    ],
)
def test_a_mark_of_the_serving_host_is_shown_unless_this_machine_has_one(
    texts: list[str], *, is_acked: bool, is_silenced: bool
) -> None:
    marks = {
        "ack": {"by": "ops-1", "at": NOW - 60_000, "note": "on it", "until": NOW + 1_200_000},
        "silence": {"by": "ops-2", "until": NOW + 3_600_000, "reason": "disks"},
    }
    row, until = tracked(envwatch=marks, connectionId=None), WallMs(NOW + 60_000)
    own = Silence(clean("1" * 8), environments=frozenset({key_of(row.environment.id)}), at=WallMs(NOW), until=until)
    monitor = Monitor(rows_of([row])).with_acks({key_of(row.environment.id): Ack(NOW, EMPTY)} if is_acked else {})
    monitor = replace(monitor.with_silences({own.id: own} if is_silenced else {}), policies=soon(zone=UTC))
    found = mark_lines(row, contexts_at(monitor)[NO_PROFILE])
    assert [line.text for line in found if line.label in {"acked", "shared"}] == texts


@pytest.mark.parametrize("age_s", [60, 3_600, 86_400])
def test_the_headline_of_a_down_row_changes_at_most_once_a_minute(age_s: int) -> None:
    lost = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - age_s * 1000}
    profile_state = listed_state(environment("env-1", **lost))
    assert len({head(profile_state, NOW + later * 250) for later in range(60)}) == 1


@pytest.mark.parametrize(
    ("changes", "later_ms", "missed"),
    [
        *(
            ({"lastHeartbeat": NOW - age}, 0, (4, missed))
            for age, missed in ((0, 0), (29_999, 0), (30_000, 1), (119_999, 3), (120_000, 4), (10**9, 4))
        ),
        ({"lastHeartbeat": NOW - 29_000}, 2_000, (4, 0)),  # counted at a listing
        ({"connectionId": None}, 0, None),
        (DOWN, 0, None),
        ({"lastHeartbeat": None}, 0, None),
    ],
)
def test_missed_beats_are_counted_by_thirty_seconds_at_a_listing(
    changes: dict[str, Any], later_ms: float, missed: tuple[int, int] | None
) -> None:
    row = environment("env-1", **changes)
    profile_state = listed_state(row)
    assert missed_beats(profile_state.environments[row.id], profile_state, reading(NOW + later_ms)) == missed


@pytest.mark.parametrize(
    ("ago", "text"), [(DAY - 1, "08:53:20Z"), (DAY, "2025-10-08 08:53Z"), (-DAY, "2025-10-10 08:53Z"), (1e20, "–")]
)
def test_an_instant_of_another_day_has_its_date(ago: float, text: str) -> None:
    assert instant_text(NOW - ago, NOW, UTC) == text
    local = instant_text(NOW - ago, NOW, None)
    assert len(local) == len(text.rstrip("Z"))


def acked(ack: Ack) -> list[tuple[str, str]]:
    row = tracked(connectionId=None)
    monitor = Monitor(rows_of([row])).with_acks({key_of(row.environment.id): ack})
    return [(line.label, line.text) for line in mark_lines(row, contexts_at(monitor)[NO_PROFILE])]


def test_an_expected_row_is_off_and_a_flapping_row_is_named_so() -> None:
    profile_state = listed_state(environment("env-1"))
    (tracked,) = profile_state.environments.values()
    pieces = state_headline(replace(tracked, is_flapping=True), profile_state, (), reading(), is_ascii=True)
    assert (pieces[0].style, pieces[0].text[:2], pieces[-1].text) == ("bold flapping", "+ ", "· flapping")
    missing = replace(tracked, verdict=NEVER_LISTED)
    assert state_headline(missing, profile_state, (), reading())[0].text.startswith("○ OFF for ")
    assert proof(missing, profile_state, reading(), UTC).startswith("expected by the configuration, but")
    assert list(remedies(missing, profile_state, reading()))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_instant_of_the_api_breaks_the_head(at: float) -> None:
    found = head_of(lastHeartbeat=at, lastSeenAt=at, firstSeenAt=at, connectedAt=at)
    assert all(text.isprintable() for text in found)


@pytest.mark.parametrize(
    ("width", "text"),
    [(23, "acked by ana: disk swap"), (22, "acked by ana"), (12, "acked by ana"), (11, "acked"), (1, "acked")],
)
def test_the_words_for_an_acknowledgement_lose_the_note_first_and_then_the_name(width: int, text: str) -> None:
    assert marked_text("acked", "ana", "disk swap", width) == text


@pytest.mark.parametrize(
    ("ago_ms", "note", "text"),
    [
        (59_999, "", "just now on this machine"),
        (60_000, "", "1m ago on this machine"),
        (250_000, "disk", "4m ago on this machine: disk"),
    ],
)
def test_an_acknowledgement_of_this_machine_has_age_and_note(ago_ms: float, note: str, text: str) -> None:
    assert acked(Ack(NOW - ago_ms, clean(note))) == [("acked", text)]


# Looks, and doubts about a listing.


def test_every_presence_has_its_own_glyph_and_unknown_outranks_every_look() -> None:
    for ascii_only in (True, False):
        glyphs = {glyph_of(presence, ascii_only=ascii_only) for presence in Presence}
        assert len(glyphs) == len(Presence)
        assert all(glyph.isascii() for glyph in glyphs) is ascii_only
    style = style_of(tracked(), is_unknown=True)
    assert (style.glyph, style.word, style.style) == ("?", "on", "unknown")
    assert style_of(tracked(), is_unknown=False).style == "online"


def test_the_legend_has_the_glyph_and_the_word_of_every_state() -> None:
    for ascii_only in (False, True):
        signs = {entry.sign for entry in state_entries(Limits(), ascii_only=ascii_only)}
        looks = {presence: PRESENCE_STYLES[presence] for presence in Presence}
        assert {f"{look.ascii if ascii_only else look.glyph} {look.word}" for look in looks.values()} <= signs


@pytest.mark.parametrize(("rows", "text"), [(0, "the list came back empty"), (3, "3 of 6 machines vanished at once")])
def test_a_quarantined_answer_has_a_doubt_and_a_sentence(rows: int, text: str) -> None:
    outcomes = [listed(beating(6)), listed(beating(rows), NOW + 5_000)]
    state = watched(outcomes)[0]
    assert doubt_of(state, reading(NOW + 12_500)) == (Doubt.HELD, "7s")
    assert doubt_of(state, reading(NOW + 5_000)) == (Doubt.HELD, "0s")
    told = quarantine_text(state, reading(NOW + 12_500), UTC)
    shown = "the table is as of 08:53:20Z" if rows == 0 else "machines not listed stay unchanged"
    assert told is not None
    assert re.fullmatch(rf"{text}.* \(08:53:25Z\): not believed before 08:54:25Z; {shown}\. Press r to ask now\.", told)
    assert doubt_of(watched(outcomes[:1])[0], reading()) is None
    assert quarantine_text(watched(outcomes[:1])[0], reading(), UTC) is None
    over = [listed(beating(6)), *(listed([], NOW + 5_000 + 50_000 * n) for n in range(2))]
    for count, left in ((3, "1 more poll;"), (2, "2 more polls;")):
        told = quarantine_text(watched(over[:count])[0], reading(NOW + 65_000), UTC)
        assert f"not believed before {left}" in (told or "")


@pytest.mark.parametrize(
    ("failing", "text"),
    [
        ({}, None),
        ({"ntfy": 0}, "hook ntfy has failed since 08:53:20Z: no incident message arrives"),
        ({"ntfy": 1_000, "a": 0}, "hook a and 1 other have failed since 08:53:20Z: no incident message arrives"),
        ({"c": 0, "b": 0, "d": 0}, "hook b and 2 others have failed since 08:53:20Z: no incident message arrives"),
    ],
)
def test_failing_hooks_are_counted_from_the_first_failure(failing: dict[str, int], text: str | None) -> None:
    assert hooks_text({clean(name): WallMs(NOW + ms) for name, ms in failing.items()}, UTC) == text


def test_a_warning_about_clocks_names_the_fault_or_the_machine_s_error() -> None:
    exact, _ = watched([listed(beating(1))])
    assert clock_warning(exact) is None
    assert clock_warning(watched([listed(beating(1), skew=-90_000)])[0]) == (
        "this machine's clock is 1m 30s behind the server's; ages are by the server's"
    )
    wrong_date = replace(exact, date_error=600_000.0)
    assert wrong_date.clock_fault is not None
    assert wrong_date.clock_fault.judged_by is not None
    assert clock_warning(wrong_date) == wrong_date.clock_fault.text
    assert clock_text_of(replace(tracked(), clock_suspect=True), wrong_date) == wrong_date.clock_fault.text
    untimed, _ = watched([listed(beating(2, lastHeartbeat=NOW * 1000))])
    assert untimed.clock_fault is not None
    assert clock_warning(untimed) is None


def test_a_row_with_a_doubtful_clock_says_why_and_other_rows_do_not() -> None:
    state, suspect = ProfileState(), replace(tracked(), clock_suspect=True)
    assert clock_text_of(tracked(), state) is None
    assert clock_text_of(replace(suspect, has_impossible_time=True), state) is None
    own = clock_text_of(suspect, state)
    assert own is not None
    assert own.startswith("this heartbeat contradicts this machine's clock, which agrees with other machines")
    dated, _ = watched([listed(beating(1))])
    assert (clock_text_of(suspect, dated) or "").startswith("this heartbeat contradicts the server's clock")


def test_one_profile_without_a_view_of_the_present_is_trouble() -> None:
    names = clean("home"), clean("work")

    def trouble(failure: Failed | None, later_ms: float) -> str:
        monitor = Monitor.create(dict.fromkeys(names, Limits()))
        monitor, _ = monitor.apply(names[0], listed(beating(1)), reading())
        monitor, _ = monitor.apply(names[1], listed(beating(1), NOW + later_ms), reading(NOW + later_ms))
        if failure is not None:
            monitor, _ = monitor.apply(names[0], failure, failure.ended)
        return trouble_text(monitor.fleet, reading(NOW + later_ms))

    assert trouble(None, 5_000) == ""
    assert trouble(None, 61_000) == "blind"
    assert trouble(failed(Cause.UNAUTHORIZED, NOW + 5_000), 5_000) == "key refused"


def test_a_standstill_of_the_platform_is_said_with_the_begin() -> None:
    rows = beating(10)
    stalled, _ = watched([listed(rows, NOW + 5_000 * n) for n in range(20)])
    assert (doubt_text(stalled, UTC) or "").startswith("no new heartbeat since 08:53:20Z: the platform stands still")
    fresh, _ = watched([listed(rows)])
    assert doubt_text(fresh, UTC) is None


def test_of_several_doubts_the_gravest_has_the_badge() -> None:
    """A stronger doubt is taken away at each step."""
    rows, at = beating(10), NOW + 95_000
    stalled, _ = watched([listed(rows, NOW + 5_000 * n) for n in range(20)])
    held, _ = watched([listed([], at + 5_000)], stalled)
    failing = replace(watched([failed(Cause.TIMEOUT, at + 10_000)], held)[0], date_error=600_000.0)
    fresh = replace(failing, stall_detector=watched([listed(rows)])[0].stall_detector)
    steps = [
        (failing, 16_000, (Doubt.STALLED, "111s")),
        (fresh, 16_000, (Doubt.HELD, "11s")),
        (replace(fresh, quarantine=None), 16_000, (Doubt.STALE, "16s")),
        (replace(fresh, quarantine=None), 12_000, (Doubt.SERVER_CLOCK, "+10m")),
        (replace(fresh, quarantine=None, date_error=None), 12_000, (Doubt.FAILING, "12s")),
        (replace(fresh, quarantine=None, date_error=None, failure=None), 12_000, None),
        (failing, 600_000, None),
        (watched([failed(Cause.UNAUTHORIZED, at + 11_000)], failing)[0], 12_000, None),
    ]
    for state, later, doubt in steps:
        assert doubt_of(state, reading(at + later)) == doubt, doubt


# Moments of the past.


@pytest.mark.parametrize(
    ("before_s", "text"),
    [
        (0, "(−0 s)"),
        (119, "(−119 s)"),
        (120, "(−2 m)"),
        (3_599, "(−59 m)"),
        (3_600, "(−1 h 0 m)"),
        (6_719, "(−1 h 51 m)"),
        (86_399, "(−23 h 59 m)"),
        (86_400, "(−1 d 0 h)"),
        (200_000, "(−2 d 7 h)"),
    ],
)
def test_how_far_a_moment_lies_back_has_two_units_from_an_hour_on(before_s: float, text: str) -> None:
    assert ago_text(NOW - before_s * 1000, NOW, ascii_only=False) == text
    assert ago_text(NOW - before_s * 1000, NOW, ascii_only=True) == text.replace("−", "-")


def test_a_moment_has_date_and_zone_if_needed_and_a_mistake_comes_with_examples() -> None:
    assert moment_text(NOW - 60_000, NOW, None) == "08:52:20"
    assert moment_text(NOW - 60_000, NOW, UTC) == "08:52:20Z"
    assert moment_text(NOW - 10 * 3_600_000, NOW, None) == "2025-10-08 22:53:20"
    assert moment_text(float("inf"), NOW, None) == "–"
    for text in ("", "nonsense"):
        assert "3m ago, 02:13, yesterday 14:00, 2026-11-25 14:00" in mistake_text(text)


@pytest.mark.parametrize(("speed", "text"), [(1.0, "1x"), (10.0, "10x"), (0.5, "0.5x")])
def test_a_speed(speed: float, text: str) -> None:
    assert speed_text(speed) == text
