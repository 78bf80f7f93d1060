"""Messages of hooks: CloudEvents, variables, PagerDuty's events, text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from support.builders import NOW, reading
from support.hooked import Hooked, hooked

from envwatch.fleet.events import Kind
from envwatch.hooks.message import Context, Message, message_of
from envwatch.model.text import clean
from envwatch.views.command_context import EVENT_VARIABLES, ROW_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTEXT = Context(source="https://letta.example/v1/environments", host="letta.example", profile="work")


def messages(one: Hooked) -> list[Message]:
    return [
        message_of(fired, clean("pager"), CONTEXT, one.monitor, reading(NOW + at * 1000)) for at, fired in one.fired
    ]


def event_of(message: Message) -> Mapping[str, Any]:
    """Return the event as read by the official SDK, which refuses invalid CloudEvents."""
    event = JSONFormat().read(CloudEvent, message.cloud_event)
    assert event.get_specversion() == "1.0"
    data = event.get_data()
    assert isinstance(data, dict)
    return {"id": event.get_id(), "type": event.get_type(), "subject": event.get_subject(), "data": data}


def test_an_incident_of_one_environment_says_which_and_why() -> None:
    opened, resolved = messages(hooked("web", "b").hold(20, "web").hold(65))
    assert opened.summary == "web went offline · disconnected · was on for 1h"
    assert resolved.summary == "resolved after 1m 20s: web went offline · disconnected · was on for 1h"
    first, last = event_of(opened), event_of(resolved)
    assert (first["type"], last["type"]) == ("envwatch.incident.opened", "envwatch.incident.resolved")
    assert first["subject"] == last["subject"] == first["data"]["incident"]
    assert first["id"] != last["id"]
    assert first["data"]["environments"][0]["pod_id"] == "pod-1"
    assert (first["data"]["resolved_at"], last["data"]["resolved_at"]) == (None, "2025-10-09T08:54:45.000Z")


def test_the_variables_have_the_row_and_what_happened() -> None:
    opened, resolved = messages(hooked("web", "b").hold(20, "web").hold(65))
    for message in (opened, resolved):
        assert message.variables.keys() == ROW_VARIABLES | EVENT_VARIABLES
        assert message.variables["ENVWATCH_NAME"] == "web"
        assert message.variables["ENVWATCH_HOOK"] == "pager"
        assert message.variables["ENVWATCH_PROFILE"] == "work"
    assert opened.variables["ENVWATCH_POD"] == "pod-1", "the pod that it was lost in"
    assert [each.variables["ENVWATCH_EVENT"] for each in (opened, resolved)] == ["incident opened", "incident resolved"]
    assert [each.variables["ENVWATCH_STATE"] for each in (opened, resolved)] == ["offline", "online"]


def test_five_hundred_are_short_for_people_and_whole_for_programs() -> None:
    names = [f"e{number:03}" for number in range(500)]
    (opened,) = messages(hooked(*names).hold(20, *names))
    assert "and 499 others went offline" in opened.summary
    assert len(opened.text.splitlines()) == 21
    assert opened.text.endswith("and 480 more")
    data = event_of(opened)["data"]
    assert (data["count"], len(data["environments"])) == (500, 500)
    assert opened.variables["ENVWATCH_COUNT"] == "500"
    assert opened.variables["ENVWATCH_NAME"] == ""
    assert len(json.dumps(opened.pagerduty)) < 4_000
    assert sum(map(len, opened.variables.values())) < 4_000


def test_pagerduty_gets_a_trigger_and_a_resolve_with_one_key() -> None:
    opened, resolved = messages(hooked("web", "b").hold(20, "web").hold(65))
    assert opened.pagerduty is not None
    key = opened.variables["ENVWATCH_INCIDENT"]
    assert resolved.pagerduty == {"event_action": "resolve", "dedup_key": key}
    payload: Any = opened.pagerduty["payload"]
    assert (opened.pagerduty["event_action"], opened.pagerduty["dedup_key"]) == ("trigger", key)
    assert {"summary", "source", "severity"} <= payload.keys()
    assert (payload["severity"], payload["component"], payload["timestamp"]) == (
        "error",
        "web",
        "2025-10-09T08:53:25.000Z",
    )
    names = list("abcd")
    (mass,) = messages(hooked(*names).hold(20, *names))
    assert mass.pagerduty is not None
    assert mass.pagerduty["payload"]["severity"] == "critical"  # type: ignore[index]


def test_an_event_is_the_cloud_event_that_watch_prints() -> None:
    (offline,) = messages(hooked("web", "b", on=(Kind.OFFLINE,)).hold(20, "web"))
    event = event_of(offline)
    assert (event["type"], event["subject"]) == ("envwatch.environment.offline", "web")
    assert event["data"]["name"] == "web"
    assert offline.pagerduty is None
    assert (offline.variables["ENVWATCH_EVENT"], offline.variables["ENVWATCH_COUNT"]) == ("offline", "1")
    assert offline.variables["ENVWATCH_INCIDENT"] == event["data"]["incident"]


def test_a_group_and_the_fleet_have_no_row() -> None:
    names = [f"e{number:02}" for number in range(20)]
    (group,) = messages(hooked(*names, on=(Kind.OFFLINE,)).hold(20, *names))
    assert (group.variables["ENVWATCH_COUNT"], group.variables["ENVWATCH_ID"]) == ("20", "")
    assert event_of(group)["type"] == "envwatch.group.offline"
    one = hooked("web", on=(Kind.BLIND,))
    for _ in range(20):
        one.fail()
    (blind,) = messages(one)
    assert blind.variables["ENVWATCH_EVENT"] == "blind"
    assert blind.variables.keys() == ROW_VARIABLES | EVENT_VARIABLES


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
    assert opened.pagerduty is not None
    payload: Any = opened.pagerduty["payload"]
    assert (payload["class"], payload["custom_details"]["environments"]) == ("blind", [])


def test_a_storm_says_so() -> None:
    names = [f"e{number}" for number in range(7)]
    one = hooked(*names)
    for count in range(1, 8):
        one.hold(15, *names[:count])
    *_, storm = messages(one.hold(60, *names))
    assert storm.summary.startswith("storm: ")
