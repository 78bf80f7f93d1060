"""A stranger's recording may hold any number in place of a clock."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from math import inf, nan
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.builders import NOW, beating, failed, listed, reading
from support.lives import plain_life
from support.marked_values import fields_of_type

from envwatch.fleet.anomalies import Anomaly, AnomalyFinding, QuarantinedListing, StallDetector
from envwatch.fleet.events import Kind
from envwatch.fleet.plausibility import LastHeartbeat, SkewCheck
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import ChangeTag, RecentChange, TrackedEnvironment
from envwatch.history.day_file import check_clocks
from envwatch.history.past import About, HistoryError, Moment
from envwatch.history.recording import RecordingWriter
from envwatch.history.stored import RecordedFile
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerClock, ServerMs, WallMs
from envwatch.model.environment import Environment
from envwatch.model.outcome import PollResult
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROFILE_STATE: Final = ProfileState().apply(listed(beating(3)))[0]


def wall(at: Any) -> Clocks:
    return Clocks(WallMs(at), MonotonicS(0.0))


def quarantined(since: Any) -> QuarantinedListing:
    return QuarantinedListing(AnomalyFinding(Anomaly.EMPTIED, clean("empty")), since)


PLACES: Final[dict[str, Callable[[Any], ProfileState]]] = {
    "listed": lambda n: replace(PROFILE_STATE, listed=wall(n)),
    "listed, monotonic": lambda n: replace(PROFILE_STATE, listed=Clocks(WallMs(NOW), n)),
    "last up": lambda n: replace(PROFILE_STATE, last_up=wall(n)),
    "unseen since": lambda n: replace(PROFILE_STATE, unseen_since=wall(n)),
    "failure": lambda n: replace(PROFILE_STATE, failure=replace(failed(), started=wall(n))),
    "failure, its end": lambda n: replace(PROFILE_STATE, failure=replace(failed(), ended=wall(n))),
    "clock": lambda n: replace(PROFILE_STATE, clock=ServerClock((OffsetBounds(n, 0.0),))),
    "clock, its end": lambda n: replace(PROFILE_STATE, clock=ServerClock((OffsetBounds(0.0, n),))),
    "elapsed": lambda n: replace(PROFILE_STATE, elapsed_ms=n),
    "stall": lambda n: replace(PROFILE_STATE, stall_detector=StallDetector(silent_s=n)),
    "end of a stall": lambda n: replace(PROFILE_STATE, stall_detector=StallDetector(resumed_at=n)),
    "period": lambda n: replace(PROFILE_STATE, periods=MappingProxyType({Kind.BLIND: n})),
    "begin": lambda n: replace(PROFILE_STATE, began_at=n),
    "error of a date": lambda n: replace(PROFILE_STATE, date_error=n),
    "hold": lambda n: replace(PROFILE_STATE, quarantine=quarantined(n)),
    "transitions": lambda n: with_row(transitions=(ServerMs(0.0), n)),
}


IN_SECONDS: Final = frozenset({"listed, monotonic", "stall", "hold"})


@pytest.mark.parametrize("number", [nan, inf, -inf, 1e15, -1e15, 10**400])
@pytest.mark.parametrize("place", PLACES)
def test_what_no_clock_shows_is_refused(place: str, number: float) -> None:
    number = number / 1000 if place in IN_SECONDS and number != 10**400 else number
    with pytest.raises(HistoryError, match="a clock in it shows what none can"):
        check_clocks(Moment(reading(), PLACES[place](number)))


def test_polls_are_no_longer_apart_than_a_clock_can_show() -> None:
    with pytest.raises(HistoryError):
        check_clocks(Moment(reading(), replace(PROFILE_STATE, interval=timedelta(milliseconds=1e15))))
    check_clocks(Moment(reading(), replace(PROFILE_STATE, interval=timedelta(milliseconds=9.99e14))))


@pytest.mark.parametrize("number", [0.0, NOW, 9.99e14, -9.99e14])
@pytest.mark.parametrize("place", PLACES)
def test_what_a_clock_may_show_is_taken(place: str, number: float) -> None:
    check_clocks(Moment(reading(), PLACES[place](number / 1000 if place in IN_SECONDS else number)))


@pytest.mark.parametrize("now", [wall(nan), Clocks(WallMs(NOW), MonotonicS(inf))])
def test_so_is_the_present_of_a_moment(now: Clocks) -> None:
    with pytest.raises(HistoryError):
        check_clocks(Moment(now, PROFILE_STATE))


def with_row(**changes: Any) -> ProfileState:
    first, tracked = next(iter(PROFILE_STATE.environments.items()))
    in_row = {name: number for name, number in changes.items() if hasattr(tracked.environment, name)}
    changed = replace(tracked, environment=replace(tracked.environment, **in_row))
    changed = replace(changed, **{name: number for name, number in changes.items() if name not in in_row})
    return replace(PROFILE_STATE, environments={**PROFILE_STATE.environments, first: changed})


ROWS: Final[dict[str, Callable[[Any], ProfileState]]] = {
    **{
        name: lambda n, name=name: with_row(**{name: n})  # type: ignore[misc]
        for name in (*fields_of_type(Environment, ServerMs), *fields_of_type(TrackedEnvironment, ServerMs))
    },
    "last_change": lambda n: with_row(last_change=RecentChange(ChangeTag.NEW, n)),
    "skew_check": lambda n: with_row(skew_check=SkewCheck(MonotonicS(0.0), None, n, n)),
    "last known heartbeat": lambda n: with_row(last_known_heartbeat=LastHeartbeat(clean("c"), n, 0.0)),
    "last known heartbeat, elapsed": lambda n: with_row(
        last_known_heartbeat=LastHeartbeat(clean("c"), ServerMs(0.0), n)
    ),
}


@pytest.mark.parametrize("place", ROWS)
def test_a_row_may_have_any_number_with_which_one_can_calculate(place: str) -> None:
    for number in (0.0, NOW, inf, -inf, 1e300, 0):
        check_clocks(Moment(reading(), ROWS[place](number)))
    for number in (nan, 10**400):
        with pytest.raises(HistoryError):
            check_clocks(Moment(reading(), ROWS[place](number)))
    check_clocks(Moment(reading(), PROFILE_STATE))


def test_what_is_impossible_is_no_moment_of_a_file_and_the_others_are(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    about = About(profile=clean("prod"), base_url=clean("https://letta.example"), version=clean("1.0"))
    with closing(RecordingWriter(path, about)) as writer:
        for profile_state in (PLACES["clock"](inf), ROWS["last_heartbeat_at"](nan), PROFILE_STATE):
            writer.start_run()
            writer.write(Moment(reading(), profile_state), PollResult.LISTED)
    with closing(RecordedFile(path)) as file:
        *impossible, fine = file.polls()
        for poll in impossible:
            with pytest.raises(HistoryError, match="shows what none can"):
                file.moment(poll)
            with pytest.raises(HistoryError, match="shows what none can"):
                list(map(file.moment, [poll]))
        assert file.moment(fine).profile_state == PROFILE_STATE


def test_a_whole_life_is_possible() -> None:
    for moment in plain_life().moments:
        check_clocks(moment)
