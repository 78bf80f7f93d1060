"""A demo scenario under a monitor that polls in simulated time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from envwatch.cli.demo_settings import uptimes_before
from envwatch.demo.lives import simulated_fleet
from envwatch.demo.scenarios import FleetSpec, Scenario, date_error_ms, is_unavailable
from envwatch.fleet.events import NO_PROFILE, flatten
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.problems import is_problem
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Listed, ListedPage, Snapshot
from envwatch.model.page import Pool, page_of
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.fleet.events import Event
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import ServerMs
    from envwatch.model.outcome import Outcome

START = 1_764_000_000_000
EVERY = timedelta(seconds=5)


@dataclass(frozen=True)
class Step:
    elapsed_s: float
    monitor: Monitor
    now: Clocks
    outcome: Outcome
    events: tuple[Event, ...]
    """The poll's events, including each member of a group."""

    @property
    def profile_state(self) -> ProfileState:
        return self.monitor.fleet.by_profile[NO_PROFILE]

    @property
    def down(self) -> set[SafeText]:
        """Return the ids of rows that count and went down less than a day ago."""
        rows = self.profile_state.environments
        return {id_ for id_, each in rows.items() if is_problem(each, self._server_now) and self.counts(each)}

    def counts(self, tracked: TrackedEnvironment) -> bool:
        return self.monitor.decision_of(tracked, self._server_now).counts

    @property
    def _server_now(self) -> ServerMs:
        return self.profile_state.clock.server_time(self.now.wall)


class ScenarioRun:
    """Polls a scenario from the start, about every 5 seconds."""

    def __init__(self, scenario: Scenario, *, size: int = 40, seed: int = 7) -> None:
        spec = FleetSpec(size, seed, scenario)
        self.demo = simulated_fleet(spec, START)
        self._scenario = scenario
        self._chance = Random(seed)
        self._at = START + self._chance.randrange(3_000)
        self._monitor = Monitor.create({NO_PROFILE: Limits()}).with_uptime_record(NO_PROFILE, uptimes_before(spec))
        self._pool = Pool()

    def until(self, seconds: float) -> Iterator[Step]:
        while self._at < START + seconds * 1_000:
            outcome = self._poll()
            self._monitor, changes = self._monitor.apply(NO_PROFILE, outcome, outcome.ended)
            events = tuple(flatten(changes.events))
            yield Step((self._at - START) / 1_000, self._monitor, outcome.ended, outcome, events)
            self._at += int(EVERY.total_seconds() * self._chance.uniform(900, 1_100))

    def start_listener(self, id_: str) -> bool | None:
        return self.demo.start_listener(id_, self._at)

    def _poll(self) -> Listed | Failed:
        at, elapsed = self._at, self._at - START
        started, ended = _reading(at), _reading(at + 20)
        if is_unavailable(self._scenario, elapsed):
            message = clean("503")
            return Failed(cause=Cause.UNAVAILABLE, message=message, started=started, ended=ended, interval=EVERY)
        rows, _ = self.demo.page(at, limit=None)
        page = page_of(b'{"connections":[%b],"hasNextPage":false}' % b",".join(rows), {}, self._pool)
        date = (at + date_error_ms(self._scenario, elapsed)) // 1_000 * 1_000
        clock = OffsetBounds.of_answer(date, at, at + 20)
        pages = (ListedPage(page.environments, WallMs(at)),)
        snapshot = Snapshot.of_pages(pages=pages, clock=(clock,), requests=1, received=1)
        return Listed(snapshot, started, ended, EVERY)


def _reading(at: int) -> Clocks:
    return Clocks(WallMs(at), MonotonicS(at / 1_000 - 1_000_000))
