"""What hooks hear of acknowledgements: one message for all rows, reminders, escalation, and an end in time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, listed
from support.policies import soon
from support.scripted_watch import hooked, new_monitor, row

from envwatch.alerts.incident import Incident
from envwatch.alerts.ledger import Progress
from envwatch.fleet.events import Kind
from envwatch.model.outcome import RelayInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.scripted_watch import Hooked

ACKS = {"has_acks": True}
EVERY_TEN_MINUTES = {"remind": timedelta(minutes=10)}
FOUR_MINUTES = soon(alert_after=timedelta(minutes=4))


def ids(one: Hooked) -> list[str]:
    return [fired.subject.id for _, fired in one.fired if isinstance(fired.subject, Incident)]


def ended_by(one: Hooked) -> list[str | None]:
    ends = (fired.subject for _, fired in one.fired if fired.progress is Progress.END_DUE)
    return [incident.ended_by for incident in ends if isinstance(incident, Incident)]


STORIES: dict[str, tuple[Callable[[], Hooked], str]] = {
    "an incident is acknowledged once all rows are": (
        lambda: (
            hooked("a", "b", rule=ACKS)
            .hold(20, "a", "b")
            .ack("a")
            .hold(10, "a", "b")
            .ack("b")
            .hold(300, "a", "b")
            .hold(70)
        ),
        "opened a+b, acknowledged a+b, resolved a+b",
    ),
    "not before": (lambda: hooked("a", "b", rule=ACKS).hold(20, "a", "b").ack("a").hold(10, "a", "b"), "opened a+b"),
    "rows that are back need no acknowledgement": (
        lambda: hooked("a", "b", rule=ACKS).hold(20, "a", "b").ack("a").hold(70, "a"),
        "opened a+b, acknowledged a+b",
    ),
    "a hook that does not ask hears of no acknowledgement": (
        lambda: hooked("a").hold(20, "a").ack("a").hold(60, "a"),
        "opened a",
    ),
    "nothing while nobody sees": (
        lambda: hooked("a", rule=ACKS).hold(20, "a").fail(times=30).ack("a").wait(1),
        "opened a",
    ),
    "once somebody sees again": (
        lambda: hooked("a", rule=ACKS).hold(20, "a").fail(times=30).ack("a").wait(1).poll("a"),
        "opened a, acknowledged a",
    ),
    "a new loss after a return is not acknowledged": (
        lambda: hooked("a", rule=ACKS).hold(20, "a").ack("a").hold(70).hold(20, "a"),
        "opened a, acknowledged a, resolved a, opened a",
    ),
    "a row without an acknowledgement is reminded of": (
        lambda: hooked("a", "b", rule=EVERY_TEN_MINUTES).hold(20, "a", "b").ack("a").hold(610, "a", "b"),
        "opened a+b, reminded a+b",
    ),
    "an acknowledged incident is not": (
        lambda: hooked("a", rule=EVERY_TEN_MINUTES).hold(20, "a").ack("a").hold(1_300, "a"),
        "opened a",
    ),
    "a reminder carries no end": (
        lambda: hooked("a", rule=EVERY_TEN_MINUTES).hold(700, "a").hold(70),
        "opened a, reminded a, resolved a",
    ),
    "an escalation fires without an acknowledgement in time": (
        lambda: hooked("a", after=900).hold(910, "a").ack("a").hold(60, "a"),
        "opened a",
    ),
    "an escalation does not fire with one": (lambda: hooked("a", after=900).hold(890, "a").ack("a").hold(60, "a"), ""),
    "a person who ends an acknowledgement opens a new incident": (
        lambda: hooked("a", rule=ACKS).hold(20, "a").ack("a").hold(60, "a").end_ack("a").hold(70, "a"),
        "opened a, acknowledged a, resolved a, opened a",
    ),
    "rows of one acknowledgement are lost at one moment": (
        lambda: hooked("a", "b", "c").hold(20, "a").hold(60, "a", "b").ack("a", "b", lasts=600).hold(700, "a", "b"),
        "opened a, opened b, resolved a, resolved b, opened a+b",
    ),
    "a row that is back before the end sends only that": (
        lambda: hooked("a").hold(20, "a").ack("a", lasts=600).hold(900),
        "opened a, resolved a",
    ),
    "a loss acknowledged before the message is not told before the end": (
        lambda: hooked("a", policies=FOUR_MINUTES).hold(60, "a").ack("a", lasts=600).hold(595, "a"),
        "",
    ),
    "and is told after the end, as the row was silent for long enough": (
        lambda: hooked("a", policies=FOUR_MINUTES).hold(60, "a").ack("a", lasts=600).hold(665, "a"),
        "opened a",
    ),
}


@pytest.mark.parametrize(("story", "said"), STORIES.values(), ids=STORIES)
def test_hooks_hear_of_acknowledgements_and_of_the_ends(story: Callable[[], Hooked], said: str) -> None:
    assert ", ".join(story().said) == said


@pytest.mark.parametrize(("seconds", "reminders"), [(599, 0), (601, 1), (1_199, 1), (1_203, 2)])
def test_an_open_incident_is_repeated_each_time_after_as_long(seconds: float, reminders: int) -> None:
    one = hooked("a", rule=EVERY_TEN_MINUTES).hold(20, "a")
    opened_at = one.fired[0][0]
    one.hold(seconds - 40, "a")
    one.poll("a", after=opened_at + seconds - one.now)
    assert one.said == ["opened a"] + ["reminded a"] * reminders


def test_an_escalation_fires_later_if_the_acknowledgement_ends() -> None:
    one = hooked("a", after=900).hold(60, "a").ack("a", lasts=1_200).hold(1_200, "a")
    ended_at = one.now
    assert one.hold(890, "a").said == []
    assert one.hold(70, "a").said == ["opened a"]
    assert one.fired[0][0] - ended_at >= 900


def test_after_the_time_of_an_acknowledgement_the_incident_resolves_and_a_new_incident_opens() -> None:
    one = hooked("a", rule=ACKS).hold(20, "a").ack("a", lasts=600).hold(590, "a")
    assert one.said == ["opened a", "acknowledged a"]
    one.hold(80, "a")
    assert one.said == ["opened a", "acknowledged a", "resolved a", "opened a"]
    assert ended_by(one) == ["acknowledgement ended"]
    assert one.ack("a", lasts=60).hold(130, "a").said[4:] == ["acknowledged a", "resolved a", "opened a"]
    assert one.hold(600, "a").hold(70).said[7:] == ["resolved a"]
    assert len(set(ids(one))) == 3


# The acknowledgement of a serving host


def viewed(one: Hooked, *down: str, ack: dict[str, Any] | None = None, times: int = 1) -> Hooked:
    """Poll an envwatch server every 5 s; `ack` is the host's acknowledgement of all rows that are down."""
    if times > 1:
        viewed(one, *down, ack=ack, times=times - 1)
    at = one.later(5).at
    marks = {} if ack is None else {"envwatch": {"ack": {"by": "ann", "at": NOW, "note": "disk"} | ack}}
    rows = [row(name, at, is_up=name not in down, **(marks if name in down else {})) for name in one.names]
    outcome = listed(rows, at)
    return one.take(outcome._replace(snapshot=outcome.snapshot._replace(served=RelayInfo(0.0, is_envwatch=True))))


def test_a_viewer_sends_no_loss_acknowledged_at_the_serving_host() -> None:
    one = viewed(hooked("a", "b", rule=ACKS, after=30), "a")
    viewed(one, "a", ack={}, times=20)
    assert one.said == []


def test_a_viewers_pager_hears_of_the_hosts_acknowledgement() -> None:
    one = hooked("a", "b", rule=ACKS).hold(20, "a")
    viewed(one, "a", ack={}, times=20)
    assert one.said == ["opened a", "acknowledged a"]
    reasons = [event.reason for event in one.monitor.event_log if event.kind is Kind.ACKNOWLEDGED]
    assert reasons == ["by ann: disk"], "once"


@pytest.mark.parametrize("is_back", [True, False])
def test_the_end_on_the_serving_host_opens_a_new_incident_of_a_viewer_unless_the_row_is_back(*, is_back: bool) -> None:
    one = viewed(hooked("a", "b", rule=ACKS).hold(20, "a"), "a", ack={})
    viewed(one, *([] if is_back else ["a"]), times=20)
    more = ["resolved a"] if is_back else ["resolved a", "opened a"]
    assert one.said == ["opened a", "acknowledged a", *more]
    assert ended_by(one) == [None if is_back else "acknowledgement ended"]


def test_an_acknowledgement_in_the_first_listing_is_no_event() -> None:
    one = hooked("a", "b")
    one.monitor = new_monitor()
    viewed(one, "a", ack={})
    assert [event for event in one.monitor.event_log if event.kind is Kind.ACKNOWLEDGED] == []
