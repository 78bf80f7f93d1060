"""The detail pane's head: state, duration, cause and evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, key_of, listed, reading, watched
from support.policies import soon
from support.tracked_environments import contexts_at, tracked
from support.tracked_environments import fleet_of as rows_of

from envwatch.fleet.alerting.silences import Silence
from envwatch.fleet.anomalies import StallDetector
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import NEVER_LISTED
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.text import EMPTY, clean
from envwatch.views.pane.remedies import remedies
from envwatch.views.pane.state_details import headline, mark_lines, missed_beats, proof
from envwatch.views.state_style import instant_text, marked_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.events import Event
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

DAY = 86_400_000.0


def fleet_of(*rows: Environment) -> ProfileState:
    return watched([listed(rows)])[0]


def head(
    profile_state: ProfileState, at: float = NOW, events: Sequence[Event] = (), skew: float = 0.0
) -> tuple[str, str]:
    tracked, now = next(iter(profile_state.environments.values())), reading(at, skew)
    return " ".join(piece.text for piece in headline(tracked, profile_state, events, now)), proof(
        tracked, profile_state, now, UTC
    )


def head_of(at: float = NOW, **changes: Any) -> tuple[str, str]:
    return head(fleet_of(environment("env-1", **changes)), at)


def after(*outcomes: Outcome, at: float) -> tuple[str, str]:
    profile_state, events = watched(outcomes)
    return head(profile_state, at, [event for event in events if event.id == "env-1"])


def test_what_is_online_says_since_when_and_how_old_its_heartbeat_is() -> None:
    assert head_of() == ("● ONLINE for 1h · beat 12s ago", "connected since 07:53:20Z · last heartbeat 08:53:08Z")


def test_what_went_offline_says_why_and_how_long_it_was_on() -> None:
    row, lost = environment("env-1"), environment("env-1", connectionId=None, lastHeartbeat=None)
    assert after(listed([row]), listed([lost], NOW + 5_000), at=NOW + 13_000) == (
        "○ OFFLINE for 8s · disconnected · was on for 1h",
        "no live connection since 08:53:25Z · last sign of life 08:53:08Z",
    )


def test_what_was_never_seen_online_is_offline_since_its_last_sign_of_life() -> None:
    seen_at = NOW - 3 * DAY - 25_200_000
    assert head_of(lastSeenAt=seen_at, connectionId=None, lastHeartbeat=None) == (
        "○ OFFLINE for 3d 7h · disconnected",
        "no live connection · last sign of life 2025-10-06 01:53Z",
    )


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (44_999, ("● ONLINE for 1h · beat 44s ago", "connected since 07:53:20Z · last heartbeat 08:52:35Z")),
        (
            45_000,
            (
                "◐ LATE for 0s · offline in 75 s",
                "last heartbeat 08:52:35Z · 1 of 4 pings missed · the limit is 120 s",
            ),
        ),
        (
            119_000,
            (
                "◐ LATE for 1m · offline in 1 s",
                "last heartbeat 08:51:21Z · 3 of 4 pings missed · the limit is 120 s",
            ),
        ),
        (
            120_000,
            ("○ OFFLINE for 2m · heartbeat lost", "connected, but no heartbeat since 08:51:20Z · the limit is 120 s"),
        ),
    ],
)
def test_silence_is_judged_at_the_limits(age: float, expected: tuple[str, str]) -> None:
    assert head_of(lastHeartbeat=NOW - age) == expected


def test_a_connection_without_a_heartbeat_is_said_to_be_one() -> None:
    assert head_of(lastHeartbeat=None) == ("○ OFFLINE for 12s · no heartbeat", "connected, without a heartbeat")


def test_what_is_gone_says_in_how_many_listings_it_was_missing() -> None:
    rows = [environment("env-1"), environment("env-2")]
    missing = [listed(rows[1:], NOW + 5_000 * number) for number in (1, 2)]
    profile_state, _ = watched([listed(rows), *missing])
    tracked, now = profile_state.environments[rows[0].id], reading(NOW + 12_000)
    assert [piece.text for piece in headline(tracked, profile_state, (), now)] == [
        "· GONE for 2s",
        "· no longer listed",
    ]
    assert (
        proof(tracked, profile_state, now, UTC)
        == "absent from 2 complete listings in a row · last sign of life 08:53:08Z"
    )


@pytest.mark.parametrize(
    ("late", "headline_text", "ends"),
    [
        (15_000, "◐ LATE for 20s · offline in 55 s", "the limit is 120 s"),
        (15_001, "◐ LATE for 20s", " · no listing for 15s"),
        (60_000, "◐ LATE for 1m", " · no listing for 1m"),
        (60_001, "? UNKNOWN for 1m · was late", " · no listing for 1m"),
    ],
)
def test_without_listings_nothing_is_counted_and_then_nothing_is_known(
    late: float, headline_text: str, ends: str
) -> None:
    row = environment("env-1", lastHeartbeat=NOW - 50_000)
    found = after(listed([row]), failed(at=NOW + late), at=NOW + late)
    assert found[0] == headline_text
    assert found[1].endswith(ends)


def test_no_environment_is_called_silent_while_all_heartbeats_have_just_stood_still() -> None:
    row = environment("env-1", lastHeartbeat=NOW - 50_000)
    profile_state = replace(fleet_of(row), stall_detector=StallDetector(is_stalled=True))
    assert head(profile_state) == (
        "? UNKNOWN · was late",
        "connected · the platform sends no new heartbeats: silence proves nothing",
    )
    assert missed_beats(profile_state.environments[row.id], profile_state, reading()) is None


def test_a_stall_of_all_heartbeats_is_what_proves_nothing() -> None:
    profile_state, _ = watched([listed(beating(12), NOW + at) for at in range(0, 150_000, 5_000)])
    assert profile_state.stall_detector.is_stalled
    assert "silence proves nothing" in proof(
        profile_state.environments[clean("env-1")], profile_state, reading(NOW + 146_000), UTC
    )


def test_while_the_clocks_contradict_the_skew_check_is_what_proves_it_and_there_is_no_countdown() -> None:
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
    row, until = tracked(envwatch=marks), WallMs(NOW + 60_000)
    own = Silence(clean("1" * 8), environments=frozenset({key_of(row.environment.id)}), at=WallMs(NOW), until=until)
    monitor = Monitor(rows_of([row])).with_acks({key_of(row.environment.id): Ack(NOW, EMPTY)} if is_acked else {})
    monitor = replace(monitor.with_silences({own.id: own} if is_silenced else {}), policies=soon(zone=UTC))
    found = mark_lines(row, contexts_at(monitor)[NO_PROFILE])
    assert [line.text for line in found if line.label in {"acked", "shared"}] == texts


def test_flapping_is_named_after_the_state() -> None:
    profile_state = fleet_of(environment("env-1"))
    (tracked,) = profile_state.environments.values()
    pieces = headline(replace(tracked, is_flapping=True), profile_state, (), reading())
    assert (pieces[0].style, pieces[-1].text) == ("bold flapping", "· flapping")


def test_the_glyph_is_ascii_where_it_has_to_be() -> None:
    profile_state = fleet_of(environment("env-1"))
    assert (
        headline(next(iter(profile_state.environments.values())), profile_state, (), reading(), is_ascii=True)[0].text[
            :2
        ]
        == "+ "
    )


@pytest.mark.parametrize("age_s", [60, 3_600, 86_400])
def test_a_headline_of_what_is_down_changes_at_most_once_a_minute(age_s: int) -> None:
    lost = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - age_s * 1000}
    profile_state = fleet_of(environment("env-1", **lost))
    assert len({head(profile_state, NOW + later * 250) for later in range(60)}) == 1


@pytest.mark.parametrize(("age", "missed"), [(0, 0), (29_999, 0), (30_000, 1), (119_999, 3), (120_000, 4), (10**9, 4)])
def test_missed_beats_are_counted_by_thirty_seconds(age: float, missed: int) -> None:
    row = environment("env-1", lastHeartbeat=NOW - age)
    profile_state = fleet_of(row)
    assert missed_beats(profile_state.environments[row.id], profile_state, reading()) == (4, missed)


def test_missed_beats_are_counted_at_a_listing_and_not_between_two() -> None:
    row = environment("env-1", lastHeartbeat=NOW - 29_000)
    profile_state = fleet_of(row)
    assert missed_beats(profile_state.environments[row.id], profile_state, reading(NOW + 2_000)) == (4, 0)


@pytest.mark.parametrize(
    "changes", [{"connectionId": None}, {"connectionId": None, "lastHeartbeat": None}, {"lastHeartbeat": None}]
)
def test_an_environment_without_a_connection_or_heartbeat_misses_no_beats(changes: dict[str, Any]) -> None:
    row = environment("env-1", **changes)
    profile_state = fleet_of(row)
    assert missed_beats(profile_state.environments[row.id], profile_state, reading()) is None


@pytest.mark.parametrize(
    ("ago", "text"), [(DAY - 1, "08:53:20Z"), (DAY, "2025-10-08 08:53Z"), (-DAY, "2025-10-10 08:53Z"), (1e20, "–")]
)
def test_an_instant_of_another_day_has_its_date(ago: float, text: str) -> None:
    assert instant_text(NOW - ago, NOW, UTC) == text
    local = instant_text(NOW - ago, NOW, None)
    assert len(local) == len(text.rstrip("Z"))


def acked(ack: Ack) -> list[tuple[str, str]]:
    row = tracked()
    monitor = Monitor(rows_of([row])).with_acks({key_of(row.environment.id): ack})
    return [(line.label, line.text) for line in mark_lines(row, contexts_at(monitor)[NO_PROFILE])]


def test_an_acknowledgement_is_said_to_be_of_this_machine() -> None:
    for note, text in ((clean("disk"), "4m ago on this machine: disk"), (clean(""), "4m ago on this machine")):
        assert acked(Ack(NOW - 250_000, note)) == [("acked", text)]


def test_what_was_never_listed_is_missing_because_it_is_expected() -> None:
    profile_state = fleet_of(environment("env-1"))
    (tracked,) = profile_state.environments.values()
    missing = replace(tracked, verdict=NEVER_LISTED)
    assert headline(missing, profile_state, (), reading())[0].text.startswith("! MISSING for ")
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


@pytest.mark.parametrize(("ago_ms", "text"), [(59_999, "just now"), (60_000, "1m ago")])
def test_an_acknowledgement_of_the_last_minute_was_given_just_now(ago_ms: float, text: str) -> None:
    assert acked(Ack(NOW - ago_ms, EMPTY)) == [("acked", f"{text} on this machine")]
