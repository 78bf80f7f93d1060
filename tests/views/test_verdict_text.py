"""The words for a verdict, which table, pane, Explain, chat and lists share."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, environment, failed, listed, reading, slept

from envwatch.fleet import presence
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model.limits import Limits
from envwatch.model.outcome import Outcome, Slept
from envwatch.model.text import clean
from envwatch.views.state_style import (
    cause_text,
    countdown_text,
    last_text,
    lasted_text,
    reasons,
    short_reason,
    state_text,
    why_unknown,
)

if TYPE_CHECKING:
    from envwatch.fleet.presence import Verdict

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
        (presence.MISSING, "missing", ["expected, no longer listed"], "not listed"),
        (presence.NEVER_LISTED, "missing", ["expected, never listed"], "never listed"),
    ],
)
def test_each_verdict_has_its_words(verdict: Verdict, state: str, why: list[str], short: str | None) -> None:
    tracked = TrackedEnvironment(environment=ROW, verdict=verdict)
    assert state_text(tracked, is_unknown=False) == state
    assert [*reasons(tracked)] == why
    assert short_reason(tracked) == short
    assert len(short or "") <= 14
    assert [*reasons(replace(tracked, is_flapping=True))] == [*why, "flapping"]
    assert (state_text(tracked, is_unknown=True), last_text(tracked)) == ("unknown", f"was {state}")


def test_a_replaced_row_has_the_other_row_as_its_only_reason() -> None:
    tracked = TrackedEnvironment(environment=ROW, verdict=presence.DISCONNECTED, is_flapping=True)
    replaced = replace(tracked, replaced_by=clean("env-2"), replaced_by_name=clean("new"))
    assert [*reasons(replaced)] == ["replaced by new"] == [short_reason(replaced)]


def test_a_row_without_an_earlier_verdict_has_no_last_state() -> None:
    assert last_text(TrackedEnvironment(environment=ROW, verdict=presence.UNTIMED)) is None


@pytest.mark.parametrize(
    ("left_s", "long", "short"),
    [
        (50, "offline in 50 s", "off in 50 s"),
        (0.6, "offline in 1 s", "off in 1 s"),
        (0, "offline at the next listing", "off next poll"),
        (-1, "offline at the next listing", "off next poll"),
    ],
)
def test_a_late_row_goes_offline_at_the_limit_or_with_a_listing(left_s: float, long: str, short: str) -> None:
    assert (countdown_text(left_s), countdown_text(left_s, is_short=True)) == (long, short)
    limit_s = Limits().online_for.total_seconds()
    row = replace(ROW, last_heartbeat_at=NOW, last_seen_at=NOW, connected_at=NOW)
    late = TrackedEnvironment(environment=row, verdict=presence.LATE)
    assert cause_text(late, NOW + (limit_s - left_s) * 1000, Limits()) == short
    assert cause_text(replace(late, clock_suspect=True), NOW, Limits()) == "ping missed"


def test_a_flapping_row_has_the_number_of_changes_as_cause() -> None:
    tracked = TrackedEnvironment(environment=ROW, verdict=presence.ONLINE, is_flapping=True, transitions=(NOW, NOW))
    assert cause_text(tracked, NOW, Limits()) == "2 changes/h"


@pytest.mark.parametrize(
    ("outcomes", "since", "why"),
    [
        ([listed([ROW]), failed(at=NOW + 300_000)], NOW, "timeout: timeout"),
        ([listed([ROW]), slept(NOW, NOW + 300_000)], NOW, "no listing has come since"),
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
