"""The end of `wait`: counts, absence, and listings that prove nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, environment, failed, listed, reading, slept

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.events.matching import Progress, WaitCondition

if TYPE_CHECKING:
    from envwatch.model.outcome import Listed, Outcome

OFF = {"connectionId": None, "lastHeartbeat": None}


def progress(query: str, *outcomes: Outcome, now: float | None = None, **how: object) -> Progress:
    monitor, at = Monitor.create({NO_PROFILE: Limits()}), NOW + 0.0
    for outcome in outcomes:
        at = outcome.ended.monotonic * 1000 + NOW if not hasattr(outcome, "awake") else at
        monitor, _ = monitor.apply(NO_PROFILE, outcome, reading(at))
    condition = WaitCondition(queries=(parse(query), parse(str(how.pop("also", "")))), **how)  # type: ignore[arg-type]
    return condition.progress(monitor, reading(at if now is None else now))


def after(seconds: float, *rows: str, **changes: object) -> Listed:
    at = NOW + seconds * 1000
    return listed([environment(f"env-{row}", lastHeartbeat=at - 1_000, **changes) for row in rows], at)


@pytest.mark.parametrize(("count", "is_met"), [(1, True), (2, True), (3, False)])
def test_so_many_must_match(count: int, *, is_met: bool) -> None:
    found = progress("status:online", listed([*beating(2), environment("env-3", **OFF)]), count=count)
    assert (len(found.matching), found.is_met, found.is_proven) == (2, is_met, True)


def test_an_environment_must_match_every_query() -> None:
    assert progress("status:online", after(0, "1", "2"), also="laptop*1").is_met
    assert [row.environment.id for row in progress("status:online", after(0, "1", "2"), also='"env-1"').matching] == [
        "env-1"
    ]


def test_nothing_is_met_before_the_first_listing() -> None:
    assert progress("status:online") == ([], False, False)
    assert progress("status:online", is_absence=True) == ([], False, False)


@pytest.mark.parametrize(("query", "is_met"), [("env-9", True), ("env-1", False), ("status:offline", True)])
def test_absence_is_met_when_none_matches(query: str, *, is_met: bool) -> None:
    assert progress(query, after(0, "1"), is_absence=True).is_met is is_met


def test_what_is_gone_matches_a_query_for_states_only() -> None:
    went = (after(0, "1", "2", "3", "4", "5", "6"), *(after(s, "2", "3", "4", "5", "6") for s in (5, 10)))
    assert progress("env-1", *went, is_absence=True).is_met
    assert progress("status:gone", *went).is_met
    assert progress("env-1", *went[:2], is_absence=True).is_met is False, "one listing proves no absence"


def test_blind_asleep_quarantined_and_stalled_prove_nothing() -> None:
    first = after(0, "1", "2", "3")
    assert progress("env-1", first, now=NOW + 60_000).is_met
    assert not progress("env-1", first, now=NOW + 60_001).is_met
    assert not progress("env-1", first, slept(NOW + 1_000, NOW + 9_000)).is_met
    assert not progress("env-1", first, listed([], NOW + 5_000), is_absence=True).is_met
    assert progress("env-1", first, failed(at=NOW + 5_000)).is_met, "one failure is not blindness"
    still = [listed(beating(10), NOW + 5_000 * number) for number in range(16)]
    assert not progress("mode:standard", *still).is_proven
    assert progress("mode:standard", *still[:2]).is_proven


def test_a_row_that_cannot_be_judged_is_no_match_and_no_proof_of_absence() -> None:
    seconds_for_milliseconds = environment("env-2", lastHeartbeat=NOW / 1000)
    first = listed([*beating(1), seconds_for_milliseconds])
    assert not progress("env-2", first).is_met
    assert not progress("env-2", first, is_absence=True).is_met
    assert progress("env-1", first).is_met


def test_every_profile_must_be_seen() -> None:
    names = (clean("home"), clean("work"))
    condition = WaitCondition(queries=(parse("env-1"),))
    monitor = Monitor.create(dict.fromkeys(names, Limits()))
    monitor, _ = monitor.apply(names[0], after(0, "1"), reading())
    assert not condition.progress(monitor, reading()).is_met
    monitor, _ = monitor.apply(names[1], after(0, "2"), reading())
    assert condition.progress(monitor, reading()).is_met
    assert not replace(condition, count=2).progress(monitor, reading()).is_met
