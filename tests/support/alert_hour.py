"""An hour of 60 machines under the real `watch --hooks`, and the times when a person is needed.

A machine needs a person after 5 minutes of being down or flapping, except after the platform's outage or a rename.
`python alert_hour.py hour FOLDER SPEED` lives the hour; see `fast_clock`.
"""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support import fast_clock
from support.alert_stories import listener
from support.alert_world import Desk, Machine, Site, Told
from support.faulty_server import says

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.alert_world import Watch

MINUTE: Final = 60.0

NEED_AFTER_S: Final = 5 * MINUTE
"""Downtime until a person is needed."""

RACK: Final = [f"rack-{number:02}" for number in range(12)]
SHOP: Final = [f"shop-{number}" for number in range(8)]
APPS: Final = [f"app-{number:02}" for number in range(15)]
BENCH: Final = [f"bench-{number}" for number in range(4)]
LONE: Final = [f"lone-{number}" for number in range(6)]
CALM: Final = [f"calm-{number:02}" for number in range(15)]


class Need(NamedTuple):
    """A machine's need for a person between two moments, in seconds since the epoch."""

    name: str
    began_at: float
    ended_at: float
    blind_s: float
    """Blind seconds: the platform was down, or envwatch did not run."""

    def met_after(self, told: list[Told]) -> float | None:
        """Return the seconds until a message named the machine; None without a message in time."""
        return next((each.at - self.began_at for each in told if self.is_met_by(each)), None)

    def is_met_by(self, told: Told) -> bool:
        # `date` cuts to the second.
        return told.what == "opened" and self.name in told.names and self.began_at - 1 <= told.at <= self.ended_at


class Hour:
    def __init__(self, home: Path, speed: float) -> None:
        self.site = Site(*RACK, *SHOP, *APPS, *BENCH, *LONE, *CALM)
        self.site.machines[CALM[0]].fields = listener(CALM[0], 0)
        self.desk = Desk(home, {"work": self.site}, speed=speed)
        self._down: dict[str, float] = {}
        self._downs: list[tuple[str, float, float]] = []
        self._blind: list[tuple[float, float]] = []
        self._runs = ExitStack()
        self._watch: Watch | None = None
        self._connected: list[str] = []
        """Machines that the platform's outage disconnects."""

    def live(self) -> None:
        with self.desk, self._runs:
            self._start()
            began = time.time()
            for at, happens in sorted(self._plan(), key=itemgetter(0)):
                time.sleep(max(began + at - time.time(), 0))
                happens()
            time.sleep(max(began + 59 * MINUTE - time.time(), 0))
            self._end(signal.SIGTERM)

    def _plan(self) -> Iterator[tuple[float, Callable[[], object]]]:
        yield from self._outage(self.site.close, [LONE[0]], 2, 10)
        yield from self._outage(self.site.cut, [LONE[1]], 4, 14)
        for number, name in enumerate(APPS):  # a rolling upgrade
            yield from self._outage(self.site.close, [name], 5 + number / 3, 5.25 + number / 3)
        yield from self._outage(self.site.close, [LONE[2]], 6, 6.75)
        yield from self._outage(self.site.cut, RACK, 12, 19)
        yield from self._restart(signal.SIGTERM, 13.75, 14.25)  # the first heartbeats have expired
        yield from self._restart(signal.SIGKILL, 20, 21)
        yield from self._outage(self.site.close, [LONE[3]], 20.3, 30)
        yield 23 * MINUTE, self._rename
        for number, name in enumerate(SHOP):  # a cascade
            yield from self._outage(self.site.close, [name], 25 + number * 2 / 3, 36)
        yield 37 * MINUTE, self._begin_platform_outage
        yield from self._outage(self.site.close, [LONE[4]], 39, 52)
        yield 43 * MINUTE, self._end_platform_outage
        yield from self._outage(self.site.cut, BENCH, 45, 55)
        for number in range(26):  # flapping
            yield from self._outage(self.site.close, [LONE[5]], 47 + number / 4, 47.125 + number / 4)
        yield 54 * MINUTE, partial(self._note_flapping, LONE[5], 7 * MINUTE)
        yield from self._outage(self.site.close, [LONE[0]], 48, 57)

    def _outage(
        self, lose: Callable[..., None], names: list[str], from_minute: float, to_minute: float
    ) -> Iterator[tuple[float, Callable[[], object]]]:
        yield from_minute * MINUTE, partial(self._lose, lose, names)
        yield to_minute * MINUTE, partial(self._bring_back, names)

    def _lose(self, lose: Callable[..., None], names: list[str]) -> None:
        self._down |= dict.fromkeys(names, time.time())
        lose(*names)

    def _bring_back(self, names: list[str]) -> None:
        self.site.restore(*names)
        self._downs += [(name, self._down.pop(name), time.time()) for name in names]

    def _note_flapping(self, name: str, lasted_s: float) -> None:
        now = time.time()
        self._downs.append((name, now - lasted_s, now))

    def _start(self) -> None:
        self._watch = self._runs.enter_context(self.desk.watching())

    def _end(self, number: int) -> None:
        if self._watch is not None:
            self._watch.end(number)
        self._runs.close()

    def _restart(
        self, number: int, from_minute: float, to_minute: float
    ) -> Iterator[tuple[float, Callable[[], object]]]:
        ended: list[float] = []

        def end() -> None:
            ended.append(time.time())
            self._end(number)

        def start() -> None:
            self._start()
            self._blind.append((ended[0], time.time()))

        yield from_minute * MINUTE, end
        yield to_minute * MINUTE, start

    def _rename(self) -> None:
        self.site.close(CALM[0])
        time.sleep(10)
        now = time.time() * 1000
        self.site.add(Machine("renamed", now, connected_at=now, fields=listener("renamed", 0) | {"firstSeenAt": now}))

    def _begin_platform_outage(self) -> None:
        self._blind.append((time.time(), time.time() + 6 * MINUTE))
        self.site.server.break_every_page(says(503, '{"errorCode":"cloud_api_shutting_down","retryable":true}'))
        # During the outage the platform receives no heartbeat; afterwards all connections are lost.
        self._connected = [id_ for id_ in self.site.machines if id_ not in {CALM[0], *self._down}]
        self.site.close(*self._connected)

    def _end_platform_outage(self) -> None:
        self.site.server.heal()
        connected = [id_ for id_ in self._connected if id_ not in self._down]
        for number in range(10):  # listeners reconnect over 20 s
            time.sleep(2)
            self.site.restore(*connected[number::10])

    def needs(self) -> list[Need]:
        return [
            Need(name, began_at, ended_at, self._blind_between(began_at, ended_at))
            for name, began_at, ended_at in sorted(self._downs, key=itemgetter(1))
            if ended_at - began_at >= NEED_AFTER_S
        ]

    def _blind_between(self, began_at: float, ended_at: float) -> float:
        return sum(max(min(ended_at, to) - max(began_at, from_), 0.0) for from_, to in self._blind)


def outcome(home: Path, speed: float) -> dict[str, Any]:
    hour = Hour(home, speed)
    hour.live()
    return {"needs": hour.needs(), "told": hour.desk.told(), "said": hour.desk.said()}


if __name__ == "__main__":
    fast_clock.give_outcome(outcome)
