"""Lives of whole fleets, as moments and events: a fleet with every kind of event at least once, and the demo's fleet in
simulated time, with fractions of a ms and each `Date` cut to the second.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from support.builders import NOW, TEXT_KEYS, TEXT_MEMBERS, environment, failed, key_of, listed, page_bytes, slept

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.demo.fleet import DemoFleet
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.history.past import Moment
from envwatch.model.acks import Ack
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Listed, ListedPage, PollResult, Slept, Snapshot
from envwatch.model.page import Pool, parse_page
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from envwatch.alerts.monitor import MonitorChanges
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


PLAIN_TEXTS: Final = [f"text {'GHJKQWXYZ'[number % 9]}{number}" for number in range(CAST)]


def plain_life(at: float = NOW) -> Life:
    return Life(PLAIN_TEXTS, at)


PAGE = 100
_SKEW_MS = -317.0
"""Offset of this machine's wall clock from the server's."""
_BOOTED_AT = NOW / 1000 - 345_678.9


def simulated_life(
    size: int, polls: int, *, seed: int = 7, every_s: float = 5.0
) -> Iterator[tuple[Moment, Listed, MonitorChanges]]:
    """Yield each poll's moment, listing and changes, from the fleet's opening on."""
    server, chance = SimulatedServer(size, seed), random.Random(seed)
    monitor = Monitor.create({NO_PROFILE: Limits()})
    for number in range(polls):
        outcome = server.listing(server.opened_at + (number + chance.uniform(-0.1, 0.1)) * every_s * 1000)
        monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
        yield (Moment.of(monitor, NO_PROFILE, outcome.ended), outcome, changes)


def clocks(at: float) -> Clocks:
    """Return this machine's clocks at a server's moment, as `time` gives them: nanoseconds cut to a float."""
    seconds = (at + _SKEW_MS) / 1000
    return Clocks(WallMs(round(seconds, 7) * 1000), MonotonicS(round(at / 1000 - _BOOTED_AT, 9)))


class SimulatedServer:
    """Answers as the demo's server does; moments of the server's clock only grow."""

    def __init__(self, size: int, seed: int = 7) -> None:
        self.opened_at = NOW + 1_234.5
        self._fleet = DemoFleet(size, int(NOW))
        self._chance = random.Random(seed)
        self._known: dict[SafeText, Environment] = {}
        self._pool = Pool()

    def listing(self, at: float) -> Listed:
        started = clocks(at)
        pages, bounds, received = [], [], 0
        after: str | None = None
        has_next = True
        while has_next:
            asked = clocks(at)
            at += self._chance.uniform(4, 9)
            rows, has_next = self._fleet.page(int(at), limit=PAGE, after=after)
            date = at // 1000 * 1000
            at += self._chance.uniform(4, 9)
            body = page_bytes([], has_next).replace(b"[]", b"[" + b",".join(rows) + b"]")
            page = parse_page(body, self._known, self._pool)
            pages.append(ListedPage(page.environments, asked.wall))
            bounds.append(OffsetBounds.of_answer(date, asked.wall, clocks(at).wall))
            received += len(body) // 4
            after = page.cursor
            at += max(self._chance.gauss(20, 3), 1)
        self._known = {row.id: row for page in pages for row in page.environments}
        snapshot = Snapshot.of_pages(pages=tuple(pages), clock=tuple(bounds), requests=len(pages), received=received)
        return Listed(snapshot, started, clocks(at), timedelta(seconds=5))
