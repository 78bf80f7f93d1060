"""The answer to an acknowledgement: whether a message about the loss can still be sent."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, environment, listed, reading
from support.policies import soon

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.model.acks import Ack
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, clean
from envwatch.views.report.chat import acknowledged_text

if TYPE_CHECKING:
    from envwatch.fleet.alerting.losses import Key
    from envwatch.model.environment import Environment

NAMES = ("ada", "bob", "cyd")
SENT_NONE = "; no message will be sent from here"


def rows(at: float, *down: str) -> list[Environment]:
    lost = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW}
    return [environment(name, **(lost if name in down else {"lastHeartbeat": at - 1_000})) for name in NAMES]


def lose(*down: str, held: float = 0.0, interval: float = 2.0) -> Monitor:
    """Lose environments whose incident opens after ten seconds; poll twice in the time of the loss."""
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
    for seconds, lost in ((-2.0, ()), (0.0, down), (held, down)):
        at = NOW + seconds * 1000
        outcome = listed(rows(at, *lost), at, interval=timedelta(seconds=interval))
        monitor, _ = monitor.apply(NO_PROFILE, outcome, reading(at))
    return monitor


def answer(monitor: Monitor, *names: str, held: float = 0.0) -> str:
    acks = {(EMPTY, clean(name)): Ack(NOW, EMPTY, NOW) for name in names}
    keys: list[Key] = [(NO_PROFILE, clean(name)) for name in names]
    text = acknowledged_text("it", keys, monitor.with_acks(acks), reading(NOW + held * 1000))
    beginning, end, about_message = text.partition("recover: it" if len(names) > 1 else "recovers: it")
    assert end
    assert beginning == f"acknowledged on this machine until {'they' if len(names) > 1 else 'it'} "
    return about_message


def test_a_loss_that_waits_for_its_incident_is_never_sent() -> None:
    monitor = lose("ada", held=2)
    assert answer(monitor, "ada", held=2) == SENT_NONE
    after, changes = monitor.with_acks({(EMPTY, clean("ada")): Ack(NOW, EMPTY, NOW)}).tick(reading(NOW + 12_000))
    assert changes.opened == ()
    assert after.incidents.waiting == ()
    again, changes = monitor.tick(reading(NOW + 12_000))
    assert changes.opened == again.incidents.open != ()


def test_an_open_incident_may_have_been_sent() -> None:
    monitor = lose("ada", held=10)
    assert len(monitor.incidents.open) == 1
    assert answer(monitor, "ada", held=10) == ""


@pytest.mark.parametrize(("held", "text"), [(5.999, SENT_NONE), (6, "")])
def test_the_other_processes_on_this_machine_need_a_poll_to_read_it(held: float, text: str) -> None:
    assert answer(lose("ada", interval=2), "ada", held=held) == text


def test_all_of_an_incident_is_never_sent_and_of_a_part_the_others_may_be() -> None:
    monitor = lose(*NAMES)
    assert answer(monitor, *NAMES) == SENT_NONE
    assert answer(monitor, "ada", "bob") == "; a message about 1 other may be sent"
    assert answer(monitor, "ada") == "; a message about 2 others may be sent"


def test_others_of_the_incident_that_were_acknowledged_before_are_not_sent_either() -> None:
    monitor = lose("ada", "bob").with_acks({(EMPTY, clean("bob")): Ack(NOW, EMPTY, NOW)})
    assert answer(monitor, "ada") == SENT_NONE


def test_a_loss_that_the_first_listing_had_already_may_have_been_sent_by_an_earlier_run() -> None:
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, listed(rows(NOW, "ada")), reading(NOW))
    assert answer(monitor, "ada") == ""


def test_with_a_row_that_is_no_loss_nothing_is_said() -> None:
    assert answer(lose("ada"), "ada", "bob") == ""
