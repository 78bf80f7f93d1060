"""Messages of hooks: CloudEvents, variables, PagerDuty's events, text."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from support.builders import NOW, reading
from support.scripted_watch import Hooked, hooked

from envwatch.alerts.incident import Incident
from envwatch.alerts.silences import silence_of_query
from envwatch.deliver.delivery import pagerduty_event
from envwatch.deliver.message import Context, DeliveryError, Message, build_message
from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import WallMs
from envwatch.model.text import clean
from envwatch.views.command_context import EVENT_VARIABLES, ROW_VARIABLES
from envwatch.views.events.matching import compile_matcher

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTEXT = Context(source="https://letta.example/v1/environments", host="letta.example", profile="work")


def messages(one: Hooked) -> list[Message]:
    return one.messages(CONTEXT)


def event_of(message: Message) -> Mapping[str, Any]:
    """Return the event as read by the official SDK, which refuses invalid CloudEvents."""
    event = JSONFormat().read(CloudEvent, message.cloud_event)
    assert event.get_specversion() == "1.0"
    data = event.get_data()
    assert isinstance(data, dict)
    return {"id": event.get_id(), "type": event.get_type(), "subject": event.get_subject(), "data": data}


def pagerduty(message: Message) -> Any:
    assert isinstance(message.subject, Incident)
    return pagerduty_event(message.subject, message)


def test_an_incident_of_one_environment_names_the_row_the_reason_and_the_times() -> None:
    opened, resolved = messages(hooked("web", "b").hold(20, "web").hold(65))
    assert opened.summary == "web went offline · disconnected · was on for 1h"
    assert resolved.summary == "resolved after 1m 20s: web went offline · disconnected · was on for 1h"
    first, last = event_of(opened), event_of(resolved)
    assert (first["type"], last["type"]) == ("envwatch.incident.opened", "envwatch.incident.resolved")
    assert first["subject"] == last["subject"] == first["data"]["incident"]
    assert first["id"] != last["id"]
    (loss,) = first["data"]["environments"]
    assert (loss["id"], loss["device_id"], loss["pod_id"]) == ("web", "device-of-web", "pod-1")
    began, ended = "2025-10-09T08:53:25.000Z", "2025-10-09T08:54:45.000Z"
    assert [each["data"]["began_at"] for each in (first, last)] == [began, began]
    assert [each["data"]["resolved_at"] for each in (first, last)] == [None, ended]
    assert [each.is_resolved for each in (opened, resolved)] == [False, True]
    for message in (opened, resolved):
        assert message.variables.keys() == ROW_VARIABLES | EVENT_VARIABLES
    wanted = {
        "NAME": ("web", "web"),
        "HOOK": ("pager", "pager"),
        "PROFILE": ("work", "work"),
        "EVENT": ("incident opened", "incident resolved"),
        "STATE": ("offline", "online"),
        "TIME": (began, ended),
        "REASON": ("disconnected", "disconnected"),
    }
    found = {name: tuple(each.variables[f"ENVWATCH_{name}"] for each in (opened, resolved)) for name in wanted}
    assert found == wanted
    assert opened.variables["ENVWATCH_POD"] == "pod-1", "the pod of the loss"
    key = opened.variables["ENVWATCH_INCIDENT"]
    assert pagerduty(resolved) == {"event_action": "resolve", "dedup_key": key}
    payload: Any = pagerduty(opened)["payload"]
    assert (pagerduty(opened)["event_action"], pagerduty(opened)["dedup_key"]) == ("trigger", key)
    assert {"summary", "source", "severity"} <= payload.keys()
    assert (payload["severity"], payload["component"], payload["timestamp"]) == ("error", "web", began)


def test_an_acknowledged_incident_says_by_whom_until_when_and_why() -> None:
    one = hooked("web", "b", "c", rule={"has_acks": True}).hold(20, "web", "b")
    _, acknowledged = messages(one.ack("web", lasts=3_600, by="ann").ack("b").poll("web", "b"))
    _, with_user = one.messages(replace(CONTEXT, user=clean("cam")))
    assert [ack["by"] for ack in event_of(with_user)["data"]["acknowledgements"]] == ["cam", "ann"]
    resolved = messages(one.hold(70))[-1]
    assert acknowledged.summary.startswith("acknowledged by somebody: on it, by ann: on it: b and 1 other went offline")
    event = event_of(acknowledged)
    began, until = "2025-10-09T08:53:40.000Z", "2025-10-09T09:53:40.000Z"
    assert event["type"] == "envwatch.incident.acknowledged"
    acks = {(ack["by"], ack["at"], ack["until"], ack["note"]) for ack in event["data"]["acknowledgements"]}
    assert acks == {("ann", began, until, "on it"), ("somebody", began, None, "on it")}
    assert event["data"]["resolved_at"] is None
    assert acknowledged.variables["ENVWATCH_EVENT"] == "incident acknowledged"
    assert acknowledged.variables["ENVWATCH_TIME"] == began
    assert pagerduty(acknowledged) == {"event_action": "acknowledge", "dedup_key": event["subject"]}
    assert "acknowledgements" not in event_of(resolved)["data"]


def test_a_reminder_is_an_opening_with_another_id() -> None:
    one = hooked("web", "b", rule={"remind": timedelta(minutes=10)}).hold(1_300, "web")
    opened, first, second = messages(one)
    assert first.summary == f"still open after 10m 5s: {opened.summary}"
    assert first.variables["ENVWATCH_EVENT"] == opened.variables["ENVWATCH_EVENT"] == "incident opened"
    events = [event_of(each) for each in (opened, first, second)]
    assert [event["data"].get("reminder") for event in events] == [None, True, True]
    assert {event["type"] for event in events} == {"envwatch.incident.opened"}
    assert (len({event["id"] for event in events}), len({event["subject"] for event in events})) == (3, 1)
    assert pagerduty(first)["event_action"] == "trigger"


def test_losses_together_have_the_shared_values_as_reason_and_component() -> None:
    names = list("abcd")
    shared = "pod pod-1, organization org-1, os linux"
    (mass,) = messages(hooked(*names).hold(20, *names))
    assert mass.variables["ENVWATCH_REASON"].startswith(shared)
    payload: Any = pagerduty(mass)["payload"]
    assert payload["component"].startswith(shared)
    assert payload["custom_details"]["environments"] == names
    assert payload["severity"] == "critical"


@pytest.mark.parametrize(("profile", "told"), [("work", "work"), ("", None)])
def test_a_message_tells_the_profile_of_a_configuration(profile: str, told: str | None) -> None:
    ((at, fired),) = (one := hooked("web", "b").hold(20, "web")).fired
    context = replace(CONTEXT, profile=profile)
    opened = build_message(fired.subject, clean("pager"), context, one.monitor, reading(NOW + at * 1000))
    assert event_of(opened)["data"]["profile"] == told
    assert pagerduty(opened)["payload"]["custom_details"].get("profile") == told


@pytest.mark.parametrize(("name", "told"), [("laptop", "laptop"), (None, "web")])
def test_pagerduty_gets_the_name_of_a_row_or_else_the_id(name: str | None, told: str) -> None:
    ((at, fired),) = (one := hooked("web").hold(20, "web")).fired
    assert isinstance(fired.subject, Incident)
    (loss,) = fired.subject.losses
    named = fired.subject._replace(losses=(replace(loss, name=None if name is None else clean(name)),))
    opened = build_message(named, clean("pager"), CONTEXT, one.monitor, reading(NOW + at * 1000))
    payload: Any = pagerduty(opened)["payload"]
    assert (payload["component"], payload["custom_details"]["environments"]) == (told, [told])


def test_silenced_losses_of_the_same_moment_are_counted() -> None:
    silence = silence_of_query(compile_matcher("name:b"), WallMs(NOW), timedelta(hours=1), clean(""), clean("me"))
    (opened,) = messages(hooked("a", "b", "c", silences={silence.id: silence}).hold(20, "a", "b"))
    assert opened.summary == "a went offline · disconnected · was on for 1h (+1 silenced)"


@pytest.mark.parametrize(
    ("count", "listed", "lines", "last"),
    [(20, 20, 20, "web"), (21, 21, 21, "and 1 more"), (1_001, 1_000, 21, "and 981")],
)
def test_people_get_twenty_lines_of_losses_and_programs_a_thousand_losses(
    count: int, listed: int, lines: int, last: str
) -> None:
    ((at, fired),) = (one := hooked("web").hold(20, "web")).fired
    assert isinstance(fired.subject, Incident)
    many = fired.subject._replace(losses=fired.subject.losses * count)
    opened = build_message(many, clean("pager"), CONTEXT, one.monitor, reading(NOW + at * 1000))
    data = event_of(opened)["data"]
    assert (data["count"], len(data["environments"])) == (count, listed)
    assert len(opened.text.splitlines()) == lines
    assert opened.text.splitlines()[-1].startswith(last)


def test_a_mass_is_short_for_people_and_for_pagers() -> None:
    names = [f"e{number:03}" for number in range(100)]
    (opened,) = messages(hooked(*names).hold(20, *names))
    assert "and 99 others went offline" in opened.summary
    assert (opened.variables["ENVWATCH_COUNT"], opened.variables["ENVWATCH_NAME"]) == ("100", "")
    assert len(json.dumps(pagerduty(opened))) < 4_000
    assert sum(map(len, opened.variables.values())) < 4_000


def test_an_event_is_the_cloud_event_printed_by_watch() -> None:
    (offline,) = messages(hooked("web", "b", on=(Kind.OFFLINE,)).hold(20, "web"))
    event = event_of(offline)
    assert (event["type"], event["subject"]) == ("envwatch.environment.offline", "web")
    assert event["data"]["name"] == "web"
    assert offline.summary.startswith("web went offline")
    assert (offline.variables["ENVWATCH_EVENT"], offline.variables["ENVWATCH_COUNT"]) == ("offline", "1")
    assert offline.variables["ENVWATCH_INCIDENT"] == event["data"]["incident"]


def test_a_group_and_the_fleet_have_no_row() -> None:
    names = [f"e{number:02}" for number in range(20)]
    (group,) = messages(hooked(*names, on=(Kind.OFFLINE,)).hold(20, *names))
    assert (group.variables["ENVWATCH_COUNT"], group.variables["ENVWATCH_ID"]) == ("20", "")
    assert event_of(group)["type"] == "envwatch.group.offline"
    (blind,) = messages(hooked("web", on=(Kind.BLIND,)).fail(times=20))
    assert blind.summary.startswith("blind: ")
    assert blind.variables["ENVWATCH_EVENT"] == "blind"
    assert blind.variables.keys() == ROW_VARIABLES | EVENT_VARIABLES


def test_an_event_without_a_recorded_row_has_id_and_name() -> None:
    bare = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"), name=clean("web"))
    one = hooked("web")
    message = build_message(bare, clean("pager"), CONTEXT, one.monitor, reading())
    assert [message.variables[f"ENVWATCH_{name}"] for name in ("ID", "NAME", "POD")] == ["env-1", "web", ""]


def test_a_long_reason_makes_a_summary_of_a_thousand_characters() -> None:
    long = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"), name=clean("web"), reason=clean("x" * 5_000, 5_000))
    message = build_message(long, clean("pager"), CONTEXT, hooked("web").monitor, reading())
    assert (len(message.summary), message.summary[-2:]) == (1_000, "x…")


def test_the_text_of_a_failed_delivery_is_one_clean_line() -> None:
    assert str(DeliveryError("no\x1b[31m such\nteam")) == clean("no\x1b[31m such\nteam")


@pytest.mark.parametrize("name", ["a\x1b]52;c;x\x07b", "x" * 5_000, "a\nb|c", "$(reboot)"])
def test_a_hostile_name_stays_one_clean_line(name: str) -> None:
    one = hooked("web", "b")
    one.poll(connectionName=name).hold(20, "web")
    for message in messages(one):
        text = "".join((message.summary, *message.variables.values()))
        assert text.isprintable()
        assert len(message.summary) <= 1_000
        assert "\\u001b" not in message.cloud_event.decode()


def test_an_incident_about_envwatch_accuses_no_environment() -> None:
    opened, resolved = messages(hooked("web", "b").fail(61).wait(900).poll())
    assert opened.summary == "envwatch is blind: timeout: timeout"
    assert resolved.summary.startswith("resolved after 16m")
    data = event_of(opened)["data"]
    assert (data["count"], data["environments"]) == (0, [])
    assert (opened.variables["ENVWATCH_COUNT"], opened.variables["ENVWATCH_NAME"]) == ("0", "")
    assert opened.text.startswith("envwatch: blind: no data since")
    payload: Any = pagerduty(opened)["payload"]
    assert (payload["class"], payload["custom_details"]["environments"]) == ("blind", [])


def test_a_storm_says_so() -> None:
    names = [f"e{number}" for number in range(7)]
    one = hooked(*names)
    for count in range(1, 8):
        one.hold(15, *names[:count])
    *_, storm = messages(one.hold(60, *names))
    assert storm.summary.startswith("many at once: ")
