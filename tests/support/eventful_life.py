"""A fleet with every kind of event at least once, as moments and events."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from support.builders import NOW, TEXT_KEYS, TEXT_MEMBERS, environment, failed, key_of, listed, slept

from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.history.past import Moment
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, PollResult, Slept
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Collection

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

CAST: Final = 61
"""Number of texts before the first is used again."""


class Life:
    """A fleet with every kind of event; every text from outside is one of the given texts."""

    def __init__(self, texts: Collection[str], at: float = NOW) -> None:
        self._texts = iter(cycle(texts))
        self.steps: list[tuple[Moment, PollResult, tuple[Event, ...]]] = []
        self.wanted = self.text()
        policy = AlertPolicy(expect=(self.text(), self.wanted))
        self.monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy}, profile_name=self.text())
        self.at = at
        self.run()

    @property
    def moments(self) -> list[Moment]:
        return [moment for moment, _, _ in self.steps]

    @property
    def events(self) -> list[Event]:
        return [event for _, _, events in self.steps for event in events]

    def text(self) -> SafeText:
        return clean(next(self._texts))

    def row(self, number: int, **changes: Any) -> Environment:
        metadata = {
            **{key: self.text() for key in TEXT_KEYS},
            "self_update": {"supported": True, "reason": self.text(), "manual_command": self.text()},
            "machine": {"cpu": self.text(), "osName": self.text(), "osVersion": self.text(), "gpus": [self.text()]},
            "supported_commands": [self.text()],
            self.text(): {self.text(): [self.text()]},
        }
        texts = {name: self.text() for name in (*TEXT_MEMBERS, "new")}
        beat = {"lastHeartbeat": self.at - 5_000, "connectedAt": self.at - 60_000}
        return environment(f"{self.text()}#{number}", **(texts | {"metadata": metadata} | beat | changes))

    def take(self, outcome: Outcome) -> None:
        now = outcome.awake if isinstance(outcome, Slept) else outcome.ended
        self.monitor, changes = self.monitor.apply(NO_PROFILE, outcome, now)
        moment = Moment.of(self.monitor, NO_PROFILE, now)
        self.steps.append((moment, PollResult.from_outcome(outcome), changes.events))

    def list(self, *rows: Environment, **changes: Any) -> None:
        self.at += 5_000
        beat_at = ServerMs(self.at - 5_000)
        beating = [row if row.last_heartbeat_at is None else replace(row, last_heartbeat_at=beat_at) for row in rows]
        outcome = listed(beating, self.at)
        self.take(outcome._replace(snapshot=outcome.snapshot._replace(**changes)))

    def fail(self, cause: Cause) -> None:
        self.at += 5_000
        self.take(replace(failed(cause, self.at), message=self.text()))

    def run(self) -> None:
        rows = [self.row(0, connectionName=self.wanted), *[self.row(number) for number in range(1, 6)]]
        self.list(*rows)
        twin = self.row(9, deviceId=rows[0].device_id)
        self.list(*rows, twin)
        self.monitor = self.monitor.with_acks({key_of(rows[1].id): Ack(self.at, self.text(), self.at)})
        down = replace(rows[1], connection_id=None, last_heartbeat_at=None, pod_id=None)
        self.list(rows[0], down, *rows[2:])
        self.list(rows[0], down, *rows[2:])
        changed = [self.row(number) for number in range(6)]
        self.list(*[replace(new, id=old.id) for new, old in zip(changed, rows, strict=True)], twin)
        pod, user = self.text(), self.text()
        rows = [replace(row, pod_id=pod, user_id=user) for row in rows]
        self.list(*rows, twin)
        self.list(*[replace(row, connection_id=None, last_heartbeat_at=None) for row in rows], twin)
        self.list(*rows, twin)
        for cause in (Cause.SERVER, Cause.TIMEOUT, Cause.UNAUTHORIZED):
            self.fail(cause)
        ids = frozenset({self.text()})
        self.list(*rows, twin, rejected=1, rejected_ids=ids, in_doubt=ids, confirmed_absent=ids)
        self.at += 100_000
        self.list(replace(rows[1], name=self.text()), *rows[2:], twin)
        self.list()
        self.take(slept(self.at, self.at + 600_000))
        self.at += 600_000
        self.list(*rows)
        moment, result, events = self.steps[-1]
        notice = Event(kind=Kind.NOTICE, at=NOW, reason=self.text())
        self.steps[-1] = (moment, result, (*events, notice))


def plain_life(at: float = NOW) -> Life:
    return Life([f"text {'GHJKQWXYZ'[number % 9]}{number}" for number in range(CAST)], at)
