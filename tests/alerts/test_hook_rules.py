"""The decision about each message of a hook: incidents, events, the time of firing, and invariants over faults."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, failed, listed, reading, slept
from support.policies import soon
from support.scripted_watch import Hooked, hooked, new_monitor

from envwatch.alerts.alert_state import AlertState
from envwatch.alerts.hook_rules import HookRule, HookState
from envwatch.alerts.incident import Incident
from envwatch.alerts.ledger import Progress
from envwatch.alerts.silences import Silence, silence_of_query
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.last_run import LastRun
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import clean
from envwatch.views.events.matching import compile_matcher, event_test

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.alerts.monitor import MonitorChanges
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.text import SafeText

BOTH = (Kind.OFFLINE, Kind.ONLINE)
SIGHT = (Kind.BLIND, Kind.VISIBLE)
UNRESTRICTED: dict[str, Any] = {"currentMode": "unrestricted"}
STANDARD: dict[str, Any] = {"currentMode": "standard"}


def matching(query: str) -> dict[str, Any]:
    return {"matches": event_test(query)}


def silenced(query: str, minutes: float) -> dict[SafeText, Silence]:
    lasts = timedelta(minutes=minutes)
    silence = silence_of_query(compile_matcher(query), WallMs(NOW), lasts, clean(""), clean("me"))
    return {silence.id: silence}


# Incidents

MASS = [f"e{number}" for number in range(50)]
INCIDENTS: dict[str, tuple[Callable[[], Hooked], list[str]]] = {
    "one message for the opening and one for the end": (
        lambda: hooked("a", "b").hold(60, "a").hold(65),
        ["opened a", "resolved a"],
    ),
    "one message for a mass, and one when the last row is back": (
        lambda: hooked(*MASS).hold(60, *MASS).hold(70, "e7").hold(65),
        ["opened 50", "resolved 50"],
    ),
    "an end before the time of the hook": (lambda: hooked("a", after=120).hold(100, "a").hold(300), []),
    "the filter finds the pod before the loss": (
        lambda: hooked("a", rule=matching("pod:pod-1")).hold(30, "a"),
        ["opened a"],
    ),
    "the filter finds no other pod": (lambda: hooked("a", rule=matching("pod:pod-2")).hold(30, "a"), []),
    "the filter finds the newest mode before the loss": (
        lambda: hooked("a", rule=matching("mode:unrestricted")).poll(**UNRESTRICTED).hold(30, "a"),
        ["opened a"],
    ),
    "one row of a mass in the filter sends the whole mass": (
        lambda: hooked("a", "b", "c", "d", rule=matching("name:a")).hold(30, "a", "b", "c", "d"),
        ["opened a+b+c+d"],
    ),
    "a returned row in the filter sends nothing of the others": (
        lambda: hooked("a", "b", rule=matching("name:a"), after=120).hold(20, "a", "b").hold(150, "b"),
        [],
    ),
    "the filter finds a blindness of envwatch always": (
        lambda: hooked("a", "b", rule=matching("name:x")).fail(after=61).wait(900),
        ["opened None"],
    ),
    "nothing while blind": (lambda: hooked("a", "b", after=90).hold(20, "a").fail(times=30), []),
    "a loss that holds after a blind time": (
        lambda: hooked("a", "b", after=90).hold(20, "a").fail(times=30).poll("a"),
        ["opened a"],
    ),
    "a return in a blind time": (lambda: hooked("a", "b", after=90).hold(20, "a").fail(times=30).hold(60), []),
    "an acknowledgement before the time of the hook": (
        lambda: hooked("a", after=60).hold(30, "a").ack("a").hold(90, "a").hold(30),
        [],
    ),
    "an end within the cooldown": (
        lambda: hooked("a", cooldown=300).hold(20, "a").hold(70).hold(50, "a").hold(300),
        ["opened a", "resolved a"],
    ),
    "the cooldown of another environment": (
        lambda: hooked("a", "b", "c", "d", cooldown=300).hold(20, "a").hold(70).hold(20, "b"),
        ["opened a", "resolved a", "opened b"],
    ),
}


@pytest.mark.parametrize(("story", "said"), INCIDENTS.values(), ids=INCIDENTS)
def test_an_incident_is_sent_once_if_the_loss_holds_and_its_end_only_afterwards(
    story: Callable[[], Hooked], said: list[str]
) -> None:
    one = story()
    assert one.said == said
    assert len(one.told) == sum("opened" in each for each in said) - sum("resolved" in each for each in said)


@pytest.mark.parametrize(("held", "count"), [(119.999, 0), (120.0, 1)])
def test_an_incident_is_sent_after_exactly_the_time_of_the_hook(held: float, count: int) -> None:
    one = hooked("a", after=120).hold(60, "a").hold(50, "a")
    assert one.wait(held - 105).said == ["opened a"] * count


@pytest.mark.parametrize(("later", "count"), [(299.0, 1), (300.0, 2)])
def test_the_next_loss_of_the_same_environment_waits_for_the_cooldown(later: float, count: int) -> None:
    one = hooked("a", "b", cooldown=300).hold(20, "a").hold(70).hold(20, "a")
    ((opened_at, _), (resolved_at, _)) = one.fired
    assert resolved_at > opened_at
    one.hold(150, "a")
    one.wait(opened_at + later - one.now)
    assert one.said.count("opened a") == count


# An earlier run, and another process


def opened_before(*, is_told: bool = True, has_row: bool = True, **settings: Any) -> Hooked:
    """Return a hook after a run in which `a` went down; `has_row` says whether the loss has the row of `a`."""
    before = hooked("a", "b").hold(20, "a")
    ((_, opened),) = before.fired
    assert isinstance(opened.subject, Incident)
    losses = tuple(each if has_row else replace(each, then=None) for each in opened.subject.losses)
    state = AlertState(last_run=LastRun(WallMs(NOW)), open=(opened.subject._replace(losses=losses),))
    state = replace(state, ledger=before.monitor.ledger) if is_told else state
    one = hooked("a", "b", **settings)
    one.monitor = one.monitor.with_alert_state(NO_PROFILE, state)
    return one


@pytest.mark.parametrize(("query", "said"), [("os:linux", ["opened a"]), ("os:darwin", [])])
def test_the_filter_sees_the_present_row_of_a_loss_in_an_earlier_run(query: str, said: list[str]) -> None:
    one = opened_before(is_told=False, has_row=False, rule=matching(query))
    assert one.hold(60, "a").said == said


def test_an_incident_of_an_earlier_run_resolves_once_its_environments_are_back() -> None:
    one = opened_before()
    assert one.hold(60, "a").said == []
    assert one.hold(65).said == ["resolved a"]


def test_listings_without_a_row_of_an_earlier_incident_resolve_nothing() -> None:
    one = opened_before().restarted()
    one.names = ["b"]
    one.wait(1)
    for _ in range(62):
        one.poll(after=60)
    assert one.said == []
    one.names = ["a", "b"]
    assert one.hold(70).said == ["resolved a"]


def test_a_process_without_the_lock_sends_and_notes_nothing_and_sends_after_the_takeover() -> None:
    one = hooked("a", "b")
    one.held = frozenset()
    assert one.hold(30, "a").said == []
    one.held = frozenset({NO_PROFILE})
    assert one.poll("a").said == ["opened a"]
    assert one.hold(70).said == ["opened a", "resolved a"]


def test_an_event_of_another_process_begins_no_cooldown_here() -> None:
    one = hooked("a", on=[Kind.OFFLINE], cooldown=600)
    one.held = frozenset()
    assert one.hold(30, "a").hold(30).said == []
    one.held = frozenset({NO_PROFILE})
    assert one.hold(30, "a").said == ["offline a"]


# Events

NAMES_20 = [f"e{number:02}" for number in range(20)]
EVENTS: dict[str, tuple[Callable[[], Hooked], list[str]]] = {
    "a loss and a return": (lambda: hooked("a", on=BOTH).hold(30, "a").hold(30), ["offline a", "online a"]),
    "a loss that does not hold, and its end": (lambda: hooked("a", on=BOTH, after=120).hold(60, "a").hold(300), []),
    "a loss that does not hold": (lambda: hooked("a", on=[Kind.OFFLINE], after=120).hold(60, "a").hold(300), []),
    "a loss whose row is gone later counts from the loss": (
        lambda: hooked("a", "b", "c", on=[Kind.OFFLINE, Kind.GONE], after=60).poll("a").hold(60, without=("a",)),
        ["gone a"],
    ),
    "returns alone": (lambda: hooked("a", on=[Kind.ONLINE]).hold(30, "a").hold(30), ["online a"]),
    "two kinds in one listing": (
        lambda: hooked("a", on=(Kind.MODE, Kind.RENAMED)).poll(currentMode="plan", connectionName="b"),
        ["mode b", "renamed b"],
    ),
    "a mode that changes back": (
        lambda: hooked("a", on=[Kind.MODE], after=60).poll(**UNRESTRICTED).wait(30).poll(**STANDARD).hold(120),
        [],
    ),
    "a mode, before its time": (lambda: hooked("a", on=[Kind.MODE], after=60).poll(**UNRESTRICTED).wait(59.9), []),
    "a mode, after its time": (lambda: hooked("a", on=[Kind.MODE], after=60).poll(**UNRESTRICTED).wait(60), ["mode a"]),
    "a mode that changes again, before the time of the last change": (
        lambda: hooked("a", on=[Kind.MODE], after=60).poll(**UNRESTRICTED).wait(30).poll(currentMode="plan").wait(59.9),
        [],
    ),
    "a mode that changes again, after the time of the last change": (
        lambda: hooked("a", on=[Kind.MODE], after=60).poll(**UNRESTRICTED).wait(30).poll(currentMode="plan").wait(60),
        ["mode a"],
    ),
    "a change in the filter": (
        lambda: hooked("a", on=[Kind.MODE], after=30, rule=matching("mode:unrestricted")).poll(**UNRESTRICTED).wait(30),
        ["mode a"],
    ),
    "a change outside the filter replaces the change before": (
        lambda: (
            hooked("a", on=[Kind.MODE], after=30, rule=matching("mode:unrestricted"))
            .poll(**UNRESTRICTED)
            .poll(currentMode="plan")
            .wait(30)
        ),
        [],
    ),
    "a blindness that does not hold, and its end": (
        lambda: hooked("a", on=SIGHT, after=60).fail(times=13).hold(120),
        [],
    ),
    "a blindness that holds, and its end": (
        lambda: hooked("a", on=SIGHT, after=60).fail(times=40).hold(120),
        ["blind None", "visible again None"],
    ),
    "a blindness is sent while it lasts": (lambda: hooked("a", on=(*SIGHT, *BOTH)).fail(times=30), ["blind None"]),
    "a loss that becomes due while blind": (
        lambda: hooked("a", on=[Kind.OFFLINE], after=90).hold(10, "a").fail(times=30),
        [],
    ),
    "a loss that became due while blind, once it is seen again": (
        lambda: hooked("a", on=[Kind.OFFLINE], after=90).hold(10, "a").fail(times=30).poll("a"),
        ["offline a"],
    ),
    "a row outside the alert policy": (
        lambda: hooked("a", on=BOTH, policies=soon(alert=compile_matcher("!name:a"))).hold(30, "a").hold(30),
        [],
    ),
    "a mode of two rows, one outside the alert policy": (
        lambda: hooked("a", "b", on=[Kind.MODE], policies=soon(alert=compile_matcher("!name:a"))).poll(**UNRESTRICTED),
        ["mode b"],
    ),
    "a silenced row": (lambda: hooked("a", on=BOTH, silences=silenced("name:a", 60)).hold(30, "a").hold(30), []),
    "a loss and a return within the cooldown of each": (
        lambda: hooked("a", on=BOTH, cooldown=300).hold(20, "a").hold(20).hold(20, "a").hold(20),
        ["offline a", "online a"],
    ),
    "a loss beyond its cooldown": (
        lambda: hooked("a", on=BOTH, cooldown=300).hold(20, "a").hold(20).hold(20, "a").hold(20).hold(300, "a"),
        ["offline a", "online a", "offline a"],
    ),
    "two members of a group in the filter": (
        lambda: hooked(*NAMES_20, on=BOTH, rule=matching("name:e01,e02")).hold(20, *NAMES_20),
        ["offline e01+e02"],
    ),
}


@pytest.mark.parametrize(("story", "said"), EVENTS.values(), ids=EVENTS)
def test_an_event_is_sent_if_its_state_holds_and_somebody_needs_to_know(
    story: Callable[[], Hooked], said: list[str]
) -> None:
    assert sorted(story().said) == sorted(said)


def test_the_loss_of_a_row_gone_from_the_listing_is_sent_after_the_time_of_the_hook() -> None:
    one = hooked("a", "b", on=[Kind.OFFLINE], after=60).poll("a")
    one.names = ["b"]
    assert one.hold(55).said == []
    assert one.poll().said == ["offline a"]


@pytest.mark.parametrize(("held", "count"), [(4.999, 0), (5.0, 1)])
def test_a_loss_is_sent_after_the_time_of_the_alert_policy_at_least(held: float, count: int) -> None:
    assert len(hooked("a", on=BOTH).poll("a").wait(held).fired) == count


def test_a_row_off_at_the_first_listing_is_sent_when_online() -> None:
    one = hooked(on=BOTH)
    one.monitor, one.names = new_monitor(), ["a", "b"]
    assert one.poll("a").poll().said == ["online a"]


@pytest.mark.parametrize(("back_at", "said"), [(40, []), (60, []), (65, ["online a"])])
def test_a_return_in_a_silence_is_not_sent_after_the_silence(back_at: float, said: list[str]) -> None:
    one = hooked("a", "b", on=BOTH, after=30, silences=silenced("name:a", 1))
    assert one.hold(20).hold(back_at - 25, "a").hold(60).said == said


def test_a_group_with_one_member_in_the_filter_is_the_event_of_the_member() -> None:
    ((_, fired),) = hooked(*NAMES_20, on=BOTH, rule=matching("name:e01")).hold(20, *NAMES_20).fired
    assert isinstance(fired.subject, Event)
    assert (fired.subject.kind, fired.subject.id, fired.subject.members) == (Kind.OFFLINE, "e01", ())


def test_waiting_events_and_cooldowns_do_not_grow_with_time() -> None:
    one = hooked("a", "b", on=(*BOTH, Kind.MODE), cooldown=60)
    for _ in range(50):
        one.poll("a", **UNRESTRICTED).poll(**STANDARD)
    one.hold(120)
    assert (one.state.waiting, one.state.sent) == ({}, {})


def test_events_of_the_fleet_are_never_put_to_the_filter() -> None:
    def refuse(event: Event) -> bool:
        raise AssertionError(event)

    assert hooked("a", on=[Kind.BLIND], rule={"matches": refuse}).fail(times=30).said == ["blind None"]


# Invariants

NAMES = tuple("abcdefg")
CHANGES = frozenset({Kind.OFFLINE, Kind.ONLINE, Kind.GONE, Kind.RETURNED, Kind.MODE, Kind.VERSION})

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
        if not one.monitor.judge(reading(NOW + one.now * 1000)).sees(NO_PROFILE):
            assert one.fired[count:] == [], "fired while nothing can be seen"


@given(STEPS, SPANS, SPANS)
def test_an_incident_is_sent_once_and_resolved_at_most_once_afterwards(
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
    monitor = new_monitor()
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
