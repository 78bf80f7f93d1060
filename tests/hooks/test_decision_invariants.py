"""Invariants of hooks, and a month of faults without a lost message."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, failed, listed, reading, slept
from support.policies import soon
from support.scripted_watch import Hooked, hooked

from envwatch.fleet.alerting.incidents import Incident
from envwatch.fleet.alerting.ledger import Progress
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.monitor import Monitor
from envwatch.hooks.decision import HookRule, HookState
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.fleet.monitor import MonitorChanges
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

NAMES = tuple("abcdefg")
CHANGES = frozenset({Kind.OFFLINE, Kind.ONLINE, Kind.GONE, Kind.RETURNED, Kind.MISSING, Kind.MODE, Kind.VERSION})

POLLS = st.tuples(st.just("poll"), st.sets(st.sampled_from(NAMES)), st.sampled_from([1, 5, 15, 40]))
STEPS = st.lists(
    st.one_of(
        POLLS,
        POLLS,
        st.tuples(st.just("fail"), st.just(set[str]()), st.sampled_from([5, 20, 70])),
        st.tuples(st.just("wait"), st.just(set[str]()), st.sampled_from([1, 10, 30, 59, 60])),
        st.tuples(st.just("sleep"), st.just(set[str]()), st.sampled_from([60, 3_600])),
    ),
    max_size=40,
)
SPANS = st.sampled_from([0.0, 5.0, 60.0, 300.0])


def play(one: Hooked, steps: list[tuple[str, set[str], int]]) -> None:
    """Play steps; during blind times, nothing about an environment may fire."""
    for what, down, seconds in steps:
        count = len(one.fired)
        match what:
            case "poll":
                one.poll(*down, after=seconds)
            case "fail":
                one.fail(after=seconds)
            case "wait":
                one.wait(seconds)
            case _:
                one.sleep(seconds)
        if not one.monitor.sees(NO_PROFILE, reading(NOW + one.now * 1000)):
            assert one.fired[count:] == [], "fired while nothing can be seen"


@given(STEPS, SPANS, SPANS)
def test_an_incident_is_sent_once_resolved_at_most_once_and_only_after_it_was_sent(
    steps: list[tuple[str, set[str], int]], after: float, cooldown: float
) -> None:
    one = hooked(*NAMES, after=after, cooldown=cooldown)
    play(one, steps)
    sent: dict[str, str] = {}
    opened_at: dict[str | None, float] = {}
    for at, fired in one.fired:
        assert isinstance(fired.subject, Incident)
        incident = fired.subject
        is_end = fired.progress is Progress.END_DUE
        assert sent.get(incident.id) == ("opened" if is_end else None)
        sent[incident.id] = "resolved" if is_end else "opened"
        if not is_end:
            assert at - incident.noticed_at >= after
            assert any(at - opened_at.get(loss.id, -cooldown) >= cooldown for loss in incident.losses)
            opened_at |= dict.fromkeys((loss.id for loss in incident.losses), at)
    assert one.told == [id_ for id_, what in sent.items() if what == "opened"]


@given(STEPS, SPANS, SPANS)
def test_of_one_environment_losses_and_returns_alternate_and_keep_to_the_cooldown(
    steps: list[tuple[str, set[str], int]], after: float, cooldown: float
) -> None:
    one = hooked(*NAMES, on=(Kind.OFFLINE, Kind.ONLINE), after=after, cooldown=cooldown)
    play(one, steps)
    newest: dict[str | None, Kind] = {}
    sent_at: dict[tuple[str | None, Kind], float] = {}
    for at, fired in one.fired:
        assert isinstance(fired.subject, Event)
        leaves = flatten([fired.subject])
        assert max(Counter(leaf.id for leaf in leaves).values()) == 1
        for leaf in leaves:
            assert newest.get(leaf.id) is not leaf.kind
            assert at - sent_at.get((leaf.id, leaf.kind), -cooldown) >= cooldown
            newest[leaf.id] = leaf.kind
            sent_at[leaf.id, leaf.kind] = at


ROWS = beating(12)
"""Made once: parsing for each of 10,000 polls would take most of the time."""


def beating_at(at: float | None) -> list[Environment]:
    return [replace(each, last_heartbeat_at=None if at is None else ServerMs(at - 10_000)) for each in ROWS]


@pytest.mark.slow
def test_a_month_of_faults_without_a_loss_has_no_incident_and_no_message_about_an_environment() -> None:
    """Failed polls, empty and partial listings, lost heartbeats, a wrong wall clock, sleep, a stalled platform."""
    dice = random.Random(20_251_125)
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
    rules = (
        HookRule(),
        HookRule(kinds=CHANGES, has_incidents=False),
        HookRule(kinds=CHANGES, cooldown=timedelta(minutes=5)),
    )
    hooks = [HookState(hook=clean("page"), rule=rule) for rule in rules]
    fired: list[Event | Incident] = []

    def note(changes: MonitorChanges) -> int:
        for number, hook in enumerate(hooks):
            hooks[number], sent = hook.apply(changes, monitor, {NO_PROFILE})
            fired.extend(each for each in sent if not (isinstance(each, Incident) and each.is_blindness))
        return sum(not incident.is_blindness for incident in changes.opened)

    now, skew, opened, polls = NOW + 0.0, 0.0, 0, 0
    month_ends_at = NOW + 30 * 86_400_000
    beat_at = now
    while now < month_ends_at:
        fault = dice.choice(
            ["none"] * 6 + ["failed", "empty", "partial", "no beats", "skew", "slept", "slept", "stalled"]
        )
        length = dice.randint(1, 2) if fault in {"empty", "partial", "no beats"} else dice.randint(1, 30)
        if fault == "skew":
            skew = dice.uniform(-86_400_000, 86_400_000)
        if fault == "slept":
            awake_at = now + dice.choice([10, 60, 3_600, 9 * 3_600]) * 1000
            outcome: Outcome = slept(now, awake_at, skew=skew)
            now = awake_at
            monitor, changes = monitor.apply(NO_PROFILE, outcome, reading(now, skew))
            opened += note(changes)
        for number in range(length + 1):
            polls += 1
            fault = "none" if number == length else fault  # a true loss would last
            now += 5_000 if dice.random() < 0.7 else 55_000
            beat_at = beat_at if fault == "stalled" and now - beat_at < 100_000 else now
            rows = beating_at(beat_at)
            if fault == "failed":
                outcome = failed(at=now, skew=skew)
            elif fault == "no beats":
                outcome = listed(beating_at(None), now, skew=skew)
            else:
                shown = {"empty": [], "partial": rows[:5]}.get(fault, rows)
                outcome = listed(shown, now, skew=skew)
            monitor, changes = monitor.apply(NO_PROFILE, outcome, reading(now, skew))
            opened += note(changes)
            monitor, changes = monitor.tick(reading(now + 4_000, skew))
            opened += note(changes)
    assert polls > 10_000
    assert opened == 0
    assert fired == []
