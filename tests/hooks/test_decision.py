"""The hook for each event, and the time of firing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.builders import NOW, key_of
from support.policies import soon
from support.scripted_watch import hooked

from envwatch.fleet.alerting.alert_state import AlertState
from envwatch.fleet.alerting.incidents import Incident
from envwatch.fleet.alerting.silences import silence_of_query
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.views.events.matching import event_test, matcher_of

BOTH = (Kind.OFFLINE, Kind.ONLINE)


# Incidents.


def test_an_incident_is_sent_once_when_it_opens_and_once_when_it_resolves() -> None:
    one = hooked("a", "b").hold(60, "a").hold(65)
    assert one.said == ["opened a", "resolved a"]
    assert one.told == []


def test_five_hundred_lost_together_are_one_message_and_one_when_all_are_back() -> None:
    names = [f"e{number}" for number in range(500)]
    mass = hooked(*names).hold(60, *names)
    assert mass.said == ["opened 500"]
    assert mass.hold(70, "e7").said == ["opened 500"]
    assert mass.hold(65).said == ["opened 500", "resolved 500"]


@pytest.mark.parametrize(("held", "count"), [(119.999, 0), (120.0, 1)])
def test_it_opens_after_exactly_its_own_time(held: float, count: int) -> None:
    one = hooked("a", after=120).hold(60, "a").hold(50, "a")
    assert one.wait(held - 105).said == ["opened a"] * count


def test_one_that_ends_before_that_time_is_never_sent() -> None:
    assert hooked("a", after=120).hold(100, "a").hold(300).said == []


def test_the_filter_sees_the_environment_as_it_was_before_it_was_lost() -> None:
    in_pod = {"matches": event_test("pod:pod-1")}
    assert hooked("a", rule=in_pod).hold(30, "a").said == ["opened a"]
    assert hooked("a", rule={"matches": event_test("pod:pod-2")}).hold(30, "a").said == []
    in_mode = {"matches": event_test("mode:unrestricted")}
    assert hooked("a", rule=in_mode).poll(currentMode="unrestricted").hold(30, "a").said == ["opened a"]


@pytest.mark.parametrize(("query", "said"), [("os:linux", ["opened a"]), ("os:darwin", [])])
def test_the_filter_sees_the_present_row_of_a_loss_in_an_earlier_run(query: str, said: list[str]) -> None:
    ((_, opened),) = hooked("a", "b").hold(20, "a").fired
    assert isinstance(opened.subject, Incident)
    losses = tuple(replace(loss, then=None) for loss in opened.subject.losses)
    state = AlertState(looked_at=WallMs(NOW), open=(opened.subject._replace(losses=losses),))
    after = hooked("a", "b", rule={"matches": event_test(query)})
    after.monitor = after.monitor.with_alert_state(NO_PROFILE, state)
    assert after.hold(60, "a").said == said


def test_what_the_filter_finds_in_a_mass_sends_all_of_it() -> None:
    one_of_them = {"matches": event_test("name:a")}
    assert hooked("a", "b", "c", "d", rule=one_of_them).hold(30, "a", "b", "c", "d").said == ["opened a+b+c+d"]


def test_nothing_is_sent_while_blind_and_what_still_holds_is_sent_afterwards() -> None:
    one = hooked("a", "b", after=90).hold(20, "a")
    for _ in range(30):
        one.fail()
    assert one.said == []
    assert one.poll("a").said == ["opened a"]


def test_nothing_is_sent_of_what_came_back_while_blind() -> None:
    one = hooked("a", "b", after=90).hold(20, "a")
    for _ in range(30):
        one.fail()
    assert one.hold(60).said == []


def test_what_was_acknowledged_before_its_time_is_not_sent() -> None:
    one = hooked("a", after=60).hold(30, "a")
    one.monitor = one.monitor.with_acks({key_of("a"): Ack(at=WallMs(NOW + 30_000), note=clean("known"))})
    assert one.hold(90, "a").hold(30).said == []


@pytest.mark.parametrize(("later", "count"), [(299.0, 1), (300.0, 2)])
def test_the_next_loss_of_the_same_environment_waits_for_the_cooldown(later: float, count: int) -> None:
    one = hooked("a", "b", cooldown=300).hold(20, "a").hold(70).hold(20, "a")
    ((opened_at, _), (resolved_at, _)) = one.fired
    assert resolved_at > opened_at
    one.hold(150, "a")
    one.wait(opened_at + later - one.now)
    assert one.said.count("opened a") == count


def test_a_loss_that_ends_within_the_cooldown_is_not_sent_and_nor_is_its_end() -> None:
    one = hooked("a", cooldown=300).hold(20, "a").hold(70).hold(50, "a").hold(300)
    assert one.said == ["opened a", "resolved a"]


def test_the_cooldown_of_one_environment_does_not_hold_up_another() -> None:
    said = hooked("a", "b", "c", "d", cooldown=300).hold(20, "a").hold(70).hold(20, "b").said
    assert said == ["opened a", "resolved a", "opened b"]


def test_an_incident_of_an_earlier_run_resolves_once_its_environments_are_back() -> None:
    before = hooked("a", "b").hold(20, "a")
    ((_, opened),) = before.fired
    after = hooked("a", "b")
    state = AlertState(looked_at=WallMs(NOW), open=(opened.subject,), ledger=before.monitor.ledger)  # type: ignore[arg-type]
    after.monitor = after.monitor.with_alert_state(NO_PROFILE, state)
    assert after.hold(60, "a").said == []
    assert after.hold(65).said == ["resolved a"]


def test_listings_that_lack_a_row_of_an_earlier_incident_resolve_nothing() -> None:
    before = hooked("a", "b").hold(20, "a")
    ((_, opened),) = before.fired
    after = hooked()
    after.monitor = type(before.monitor).create({NO_PROFILE: before.monitor.fleet.by_profile[NO_PROFILE].limits})
    state = AlertState(looked_at=WallMs(NOW), open=(opened.subject,), ledger=before.monitor.ledger)  # type: ignore[arg-type]
    after.monitor = after.monitor.with_alert_state(NO_PROFILE, state)
    after.names = ["b"]
    assert after.wait(1).hold(3_700).said == []
    after.names = ["a", "b"]
    assert after.hold(70).said == ["resolved a"]


def test_a_process_without_the_lock_sends_and_notes_nothing_and_sends_after_the_takeover() -> None:
    one = hooked("a", "b")
    one.held = frozenset()
    assert one.hold(30, "a").said == []
    one.held = frozenset({NO_PROFILE})
    assert one.poll("a").said == ["opened a"]
    assert one.hold(70).said == ["opened a", "resolved a"]


# Events.


def test_an_event_that_another_process_sends_begins_no_cooldown_here() -> None:
    one = hooked("a", on=[Kind.OFFLINE], cooldown=600)
    one.held = frozenset()
    assert one.hold(30, "a").hold(30).said == []
    one.held = frozenset({NO_PROFILE})
    assert one.hold(30, "a").said == ["offline a"]


def test_a_loss_whose_row_leaves_the_listing_is_sent_after_the_time_of_the_hook() -> None:
    one = hooked("a", "b", on=[Kind.OFFLINE], after=60).poll("a")
    one.names = ["b"]
    assert one.hold(55).said == []
    assert one.poll().said == ["offline a"]


def test_a_loss_and_a_return_are_sent_each() -> None:
    assert hooked("a", on=BOTH).hold(30, "a").hold(30).said == ["offline a", "online a"]


@pytest.mark.parametrize(("held", "count"), [(4.999, 0), (5.0, 1)])
def test_a_loss_is_sent_after_the_time_of_the_alert_policy_at_least(held: float, count: int) -> None:
    assert len(hooked("a", on=BOTH).poll("a").wait(held).fired) == count


def test_a_loss_that_does_not_hold_is_not_sent_and_nor_is_its_end() -> None:
    assert hooked("a", on=BOTH, after=120).hold(60, "a").hold(300).said == []
    assert hooked("a", on=(Kind.OFFLINE,), after=120).hold(60, "a").hold(300).said == []


def test_a_hook_about_returns_alone_is_sent_each() -> None:
    assert hooked("a", on=(Kind.ONLINE,)).hold(30, "a").hold(30).said == ["online a"]


def test_a_mode_that_changes_back_in_time_is_not_sent() -> None:
    one = hooked("a", on=(Kind.MODE,), after=60)
    assert one.poll(currentMode="unrestricted").wait(30).poll(currentMode="standard").hold(120).said == []
    one.poll(currentMode="unrestricted").hold(0)
    assert one.wait(59.9).said == []
    assert one.wait(0.1).said == ["mode a"]


def test_a_mode_that_changes_again_is_sent_after_the_time_of_the_last_change() -> None:
    one = hooked("a", on=(Kind.MODE,), after=60).poll(currentMode="unrestricted").wait(30).poll(currentMode="plan")
    assert one.wait(59.9).said == []
    assert one.wait(0.1).said == ["mode a"]


def test_a_change_that_the_filter_does_not_find_replaces_the_change_before() -> None:
    to_unrestricted = {"matches": event_test("mode:unrestricted")}
    one = hooked("a", on=(Kind.MODE,), after=30, rule=to_unrestricted)
    assert one.poll(currentMode="unrestricted").wait(30).said == ["mode a"]
    one = hooked("a", on=(Kind.MODE,), after=30, rule=to_unrestricted)
    assert one.poll(currentMode="unrestricted").poll(currentMode="plan").wait(30).said == []


def test_changes_of_two_kinds_in_one_listing_are_sent_each() -> None:
    one = hooked("a", on=(Kind.MODE, Kind.RENAMED)).poll(currentMode="plan", connectionName="b")
    assert sorted(one.said) == ["mode b", "renamed b"]


@pytest.mark.parametrize(("failures", "said"), [(13, []), (40, ["blind None", "visible again None"])])
def test_a_blindness_that_does_not_hold_is_not_sent_and_nor_is_its_end(failures: int, said: list[str]) -> None:
    one = hooked("a", on=(Kind.BLIND, Kind.VISIBLE), after=60)
    for _ in range(failures):
        one.fail()
    assert one.hold(120).said == said


def test_a_row_that_was_off_at_the_first_listing_is_sent_when_online() -> None:
    one = hooked(on=BOTH)
    one.monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
    one.names = ["a", "b"]
    assert one.poll("a").poll().said == ["online a"]


@pytest.mark.parametrize(("back_at", "said"), [(40, []), (60, []), (65, ["online a"])])
def test_a_return_in_a_silence_is_not_sent_after_the_silence(back_at: float, said: list[str]) -> None:
    silence = silence_of_query(matcher_of("name:a"), WallMs(NOW), timedelta(minutes=1), clean(""), clean("me"))
    one = hooked("a", "b", on=BOTH, after=30, silences={silence.id: silence})
    assert one.hold(20).hold(back_at - 25, "a").hold(60).said == said


def test_a_group_is_one_message_with_the_members_that_the_filter_finds() -> None:
    names = [f"e{number:02}" for number in range(20)]
    two = {"matches": event_test("name:e01,e02")}
    assert hooked(*names, on=BOTH, rule=two).hold(20, *names).said == ["offline e01+e02"]
    one = {"matches": event_test("name:e01")}
    ((_, fired),) = hooked(*names, on=BOTH, rule=one).hold(20, *names).fired
    assert isinstance(fired.subject, Event)
    assert (fired.subject.kind, fired.subject.id, fired.subject.members) == (Kind.OFFLINE, "e01", ())


def test_what_the_alert_policy_does_not_find_sends_nothing() -> None:
    policies = soon(alert=matcher_of("!name:a"))
    quiet = hooked("a", "b", on=(*BOTH, Kind.MODE), policies=policies)
    assert quiet.hold(30, "a").hold(30).said == []
    assert quiet.poll(currentMode="unrestricted").said == ["mode b"]


def test_what_is_silenced_sends_nothing() -> None:
    silence = silence_of_query(matcher_of("name:a"), WallMs(NOW), timedelta(hours=1), clean(""), clean("me"))
    assert hooked("a", on=BOTH, silences={silence.id: silence}).hold(30, "a").hold(30).said == []


def test_the_cooldown_is_of_each_kind() -> None:
    one = hooked("a", on=BOTH, cooldown=300).hold(20, "a").hold(20)
    assert one.said == ["offline a", "online a"]
    assert one.hold(20, "a").hold(20).said == ["offline a", "online a"], "neither has held beyond the cooldown"
    assert one.hold(300, "a").said == ["offline a", "online a", "offline a"]


def test_that_nothing_can_be_seen_is_sent_while_it_is_so() -> None:
    one = hooked("a", on=(Kind.BLIND, Kind.VISIBLE, Kind.OFFLINE))
    for _ in range(30):
        one.fail()
    assert one.said == ["blind None"]
    assert one.poll().said == ["blind None", "visible again None"]


def test_a_loss_that_becomes_due_while_blind_waits_until_it_can_be_seen() -> None:
    one = hooked("a", on=(Kind.OFFLINE,), after=90).poll("a").poll("a")
    for _ in range(30):
        one.fail()
    assert one.said == []
    assert one.poll("a").said == ["offline a"]


def test_what_waits_and_what_cools_down_does_not_grow_with_time() -> None:
    one = hooked("a", "b", on=(*BOTH, Kind.MODE), cooldown=60)
    for _ in range(50):
        one.poll("a", currentMode="unrestricted").poll(currentMode="standard")
    one.hold(120)
    assert (one.state.waiting, one.state.sent) == ({}, {})


def test_events_of_the_fleet_are_never_put_to_the_filter() -> None:
    def refuse(event: Event) -> bool:
        raise AssertionError(event)

    one = hooked("a", on=(Kind.BLIND,), rule={"matches": refuse})
    for _ in range(30):
        one.fail()
    assert one.said == ["blind None"]
