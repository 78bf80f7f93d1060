"""When the bell rings: only for what holds, for all that is due at once, and seldom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW
from support.hostile_fleet import WEAPONS

from envwatch.fleet.alerts import Alerts, ring_text
from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import MonotonicS
from envwatch.model.text import Clean, cells, clean

Key: TypeAlias = tuple[Clean, Clean]

S = MonotonicS


def event(kind: Kind, name: str = "nas", *, profile: str = "", before: str = "online", **changes: Any) -> Event:
    return Event(
        kind=kind,
        at=NOW,
        profile=Clean(profile),
        id=Clean(f"env-{name}"),
        name=Clean(name),
        before=Clean(before),
        **changes,
    )


def lost(name: str = "nas", **changes: Any) -> Event:
    return event(Kind.OFFLINE, name, **changes)


def gone(name: str = "nas", **changes: Any) -> Event:
    return event(Kind.GONE, name, **changes)


def merge_streams(*members: Event, kind: Kind = Kind.TOGETHER) -> Event:
    return Event(kind=kind, at=NOW, members=members)


def holds(_: Event) -> bool:
    return True


def is_over(_: Event) -> bool:
    return False


def is_unseen(_: Event) -> None:
    return None


def names(events: tuple[Event, ...]) -> list[str | None]:
    return [each.name for each in events]


# What rings


@pytest.mark.parametrize(("waited", "rings"), [(9.999, False), (10.0, True)])
@pytest.mark.parametrize("loss", [lost(), gone()])
def test_a_loss_rings_once_it_has_held_for_ten_seconds(loss: Event, waited: float, *, rings: bool) -> None:
    _, ringing = Alerts().with_events([loss], S(100.0)).due(S(100.0 + waited), holds)
    assert ringing == ((loss,) if rings else ())


def test_a_loss_rings_only_once() -> None:
    alerts, ringing = Alerts().with_events([lost()], S(0.0)).due(S(10.0), holds)
    assert names(ringing) == ["nas"]
    assert alerts.due(S(1000.0), holds)[1] == ()


def test_what_does_not_hold_is_dropped_silently_and_for_good() -> None:
    alerts, ringing = Alerts().with_events([lost()], S(0.0)).due(S(3.0), is_over)
    assert ringing == ()
    assert alerts == Alerts()


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.OFFLINE, Kind.GONE}))
def test_nothing_but_a_loss_rings(kind: Kind) -> None:
    assert Alerts().with_events([event(kind)], S(0.0)) == Alerts()


@pytest.mark.parametrize("kind", [Kind.TOGETHER, Kind.WHILE_BLIND])
def test_what_is_lost_together_rings_together(kind: Kind) -> None:
    group = merge_streams(merge_streams(lost("a"), lost("b")), event(Kind.MODE, "c"), lost("d"), kind=kind)
    alerts, ringing = Alerts().with_events([group], S(0.0)).due(S(10.0), holds)
    assert names(ringing) == ["a", "b", "d"]
    assert alerts == Alerts(rang_at=S(10.0))


def test_one_environment_under_two_profiles_is_lost_twice() -> None:
    alerts = Alerts().with_events([lost(profile="a"), lost(profile="b")], S(0.0))
    assert [loss.profile for loss in alerts.due(S(10.0), holds)[1]] == ["a", "b"]


# When it waits


@pytest.mark.parametrize(("later", "rings"), [(19.999, False), (20.0, True)])
def test_one_bell_rings_in_ten_seconds_and_what_is_due_before_keeps_waiting(later: float, *, rings: bool) -> None:
    alerts = Alerts().with_events([lost("a")], S(0.0)).with_events([lost("b")], S(0.1))
    alerts, ringing = alerts.due(S(10.0), holds)
    assert names(ringing) == ["a"]
    alerts, ringing = alerts.due(S(10.1), holds)
    assert ringing == ()
    assert names(alerts.due(S(later), holds)[1]) == (["b"] if rings else [])


def test_a_loss_that_ends_before_the_next_bell_never_rings() -> None:
    alerts, _ = Alerts().with_events([lost("a")], S(0.0)).with_events([lost("b")], S(5.0)).due(S(10.0), holds)
    alerts, ringing = alerts.due(S(15.0), is_over)
    assert (alerts.waiting, ringing) == ((), ())


def test_while_blind_nothing_rings_and_nothing_is_forgotten() -> None:
    alerts, ringing = Alerts().with_events([lost()], S(0.0)).due(S(60.0), is_unseen)
    assert ringing == ()
    assert names(alerts.due(S(61.0), holds)[1]) == ["nas"]
    assert alerts.due(S(61.0), is_over)[1] == ()


def test_blindness_of_one_profile_holds_up_no_other() -> None:
    alerts = Alerts().with_events([lost("a", profile="dark"), lost("b", profile="lit")], S(0.0))
    alerts, ringing = alerts.due(S(10.0), lambda loss: None if loss.profile == "dark" else True)
    assert names(ringing) == ["b"]
    assert names(alerts.due(S(20.0), holds)[1]) == ["a"]


@pytest.mark.parametrize(("at", "ringing"), [(17.999, []), (18.0, ["nas"])])
def test_what_is_lost_twice_waits_once_from_the_newer_loss_on(at: float, ringing: list[str]) -> None:
    alerts = Alerts().with_events([lost()], S(0.0)).with_events([lost()], S(8.0))
    assert len(alerts.waiting) == 1
    assert names(alerts.due(S(at), holds)[1]) == ringing


def test_the_loss_that_has_waited_longest_is_named_first() -> None:
    alerts = Alerts().with_events([lost("a"), lost("b")], S(0.0)).with_events([lost("a")], S(1.0))
    assert names(alerts.due(S(20.0), holds)[1]) == ["b", "a"]


def test_an_offline_environment_that_becomes_gone_is_no_second_loss() -> None:
    also_gone = gone(before="offline")
    assert Alerts().with_events([lost()], S(0.0)).with_events([also_gone], S(8.0)).due(S(10.0), holds)[1] == (
        also_gone,
    )
    rung, _ = Alerts().with_events([lost()], S(0.0)).due(S(10.0), holds)
    assert rung.with_events([also_gone], S(60.0)).waiting == ()
    assert Alerts().with_events([also_gone], S(0.0)) == Alerts()


# Whatever happens


@dataclass
class Story:
    """A fleet that comes and goes, the alarm over it, and what the rules say of every loss."""

    now: float = 0.0
    alerts: Alerts = field(default_factory=Alerts)
    state: dict[Key, str] = field(default_factory=dict)
    dark: set[str] = field(default_factory=set)
    unrung: dict[Key, tuple[float, Event]] = field(default_factory=dict)
    """The loss of each environment that is down and for which no bell has rung yet."""
    rings: list[float] = field(default_factory=list)

    def turn(self, keys: list[Key], state: str, group: Kind | None) -> None:
        """Let environments come, fall or vanish in one listing."""
        losses = []
        for key in keys:
            before = self.state.get(key, "online")
            if before == state or (before, state) == ("gone", "offline"):
                continue
            kind = {"online": Kind.ONLINE, "offline": Kind.OFFLINE, "gone": Kind.GONE}[state]
            news = event(kind, key[1], profile=key[0], before=before)
            losses.append(news)
            self.state[key] = state
            if before == "online":
                self.unrung[key] = (self.now, news)
            elif state == "online":
                self.unrung.pop(key, None)
            elif key in self.unrung:
                self.unrung[key] = (self.unrung[key][0], news)
        self.alerts = self.alerts.with_events(
            [merge_streams(*losses, kind=group)] if group and losses else losses, S(self.now)
        )

    def holds(self, loss: Event) -> bool | None:
        key = (loss.profile, Clean((loss.id or "").removeprefix("env-")))
        return None if loss.profile in self.dark else self.state.get(key, "online") != "online"

    def ask(self) -> None:
        """Ask what is due, and compare it with what the rules say."""
        self.alerts, ringing = self.alerts.due(S(self.now), self.holds)
        may_ring = not self.rings or self.now - self.rings[-1] >= 10
        expected = {
            key: loss
            for key, (noticed_at, loss) in self.unrung.items()
            if may_ring and key[0] not in self.dark and self.now - noticed_at >= 10
        }
        assert sorted(map(repr, ringing)) == sorted(map(repr, expected.values()))
        for key in expected:
            del self.unrung[key]
        if ringing:
            self.rings.append(self.now)


KEYS = [(Clean(profile), Clean(name)) for profile in ("a", "b") for name in ("nas", "mac", "box")]

STEPS = st.one_of(
    st.tuples(
        st.just("turn"),
        st.lists(st.sampled_from(KEYS), min_size=1, unique=True),
        st.sampled_from(["online", "offline", "gone"]),
        st.sampled_from([None, Kind.TOGETHER, Kind.WHILE_BLIND]),
    ),
    st.tuples(st.just("sight"), st.sets(st.sampled_from("ab"))),
    st.tuples(st.just("ask")),
)

WAITS = st.sampled_from([0.0, 0.25, 1.0, 4.75, 5.0, 9.75, 10.0, 30.0])
"""Binary fractions: sums of them are exact."""


@settings(max_examples=examples(500))
@given(st.lists(st.tuples(WAITS, STEPS), max_size=40))
def test_every_loss_that_holds_rings_exactly_once_and_bells_are_ten_seconds_apart(
    steps: list[tuple[float, tuple[Any, ...]]],
) -> None:
    story = Story()
    for wait, (what, *how) in steps:
        story.now += wait
        match what:
            case "turn":
                story.turn(*how)
            case "sight":
                (story.dark,) = how
            case _:
                story.ask()
    story.dark = set()
    for _ in range(3):
        story.now += 10
        story.ask()
    assert story.unrung == {}
    assert story.alerts.waiting == ()
    assert all(later - earlier >= 10 for earlier, later in zip(story.rings, story.rings[1:], strict=False))


# What is said


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([lost("mac-mini-2")], "mac-mini-2 went offline"),
        ([lost("mac-mini-2"), lost("b")], "mac-mini-2 and 1 other went offline"),
        ([lost("mac-mini-2"), lost("b"), lost("c")], "mac-mini-2 and 2 others went offline"),
        ([gone("mac-mini-2")], "mac-mini-2 is gone"),
        ([gone("mac-mini-2"), gone("b")], "mac-mini-2 and 1 other are gone"),
        ([lost("mac-mini-2"), gone("b")], "mac-mini-2 and 1 other went offline or are gone"),
    ],
)
def test_a_ring_is_one_short_sentence(events: list[Event], text: str) -> None:
    assert ring_text(events) == text


@pytest.mark.parametrize(("length", "shown"), [(60, "x" * 60), (61, "x" * 48 + "…" + "x" * 11)])
def test_a_long_name_keeps_both_its_ends(length: int, shown: str) -> None:
    assert ring_text([lost("x" * length)]) == f"{shown} went offline"


def test_an_environment_without_a_name_is_named_by_its_id() -> None:
    assert ring_text([Event(kind=Kind.OFFLINE, at=NOW, id=Clean("env-1"), name=Clean(""))]) == "env-1 went offline"


@pytest.mark.parametrize("weapon", WEAPONS)
def test_no_name_makes_it_long_or_unclean(weapon: str) -> None:
    text = ring_text([lost(clean(weapon)), lost("b")])
    assert cells(text) <= 60 + len(" and 1 other went offline")
    assert clean(text) == text
