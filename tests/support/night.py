"""A night on call, minute by minute, as a history in memory."""

from __future__ import annotations

from copy import copy
from datetime import datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self
from zoneinfo import ZoneInfo

from support.builders import environment, failed, key_of, listed, reading, slept
from support.memory_history import MemoryHistory

from envwatch.alerts.acknowledgements import ack_of
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.earlier_runs import Seam
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Slept
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.alerts.alert_policy import AlertPolicy
    from envwatch.history.past import Moment
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed, Outcome
    from envwatch.model.text import SafeText

ZONE: Final = ZoneInfo("Europe/Berlin")
STEP_MS: Final = 30_000
HOUR_MS: Final = 3_600_000
EDGES: Final = tuple(f"edge-{number}" for number in range(1, 13))


class Night:
    """Machines by name; a change of a machine takes effect at the next poll.

    Args:
        begins: local time of the first poll.
        step_ms: interval of polls.
        compares_runs: whether changes between two runs are recorded.
        skew_ms: how far this machine's clock is ahead of the server's.
        latency_ms: from a listing's request to the answer.
        policies: alert policies by profile.
    """

    def __init__(
        self,
        begins: str = "2026-11-24 22:00",
        step_ms: int = STEP_MS,
        *,
        compares_runs: bool = True,
        skew_ms: int = 0,
        latency_ms: int = 0,
        policies: Mapping[SafeText, AlertPolicy] = MappingProxyType({}),
    ) -> None:
        self.history = MemoryHistory()
        self.at = int(datetime.fromisoformat(begins).replace(tzinfo=ZONE).timestamp() * 1000)
        self._step_ms = step_ms
        self._compares_runs = compares_runs
        self._skew_ms = skew_ms
        self._latency_ms = latency_ms
        self._policies = policies
        self._rows: dict[str, dict[str, Any]] = {}
        self._unlisted: set[str] = set()
        self._start_run()

    def _start_run(self) -> None:
        self.history.start_run()
        self.monitor = Monitor.create({NO_PROFILE: Limits()}, policies=self._policies)
        self._is_first = True
        self._seam: Seam | None = None

    @property
    def moment(self) -> Moment:
        return self.history.moment(self.history.polls(WallMs(0), WallMs(self.wall + self._latency_ms))[-1])

    @property
    def wall(self) -> WallMs:
        """This machine's wall clock at the next poll."""
        return WallMs(self.at + self._skew_ms)

    def add(self, *names: str, down_h: float | None = None, **changes: Any) -> Self:
        """Register machines named like the id; `down_h` is the number of hours offline."""
        for name in names:
            row = {"connectionName": name, "connectedAt": self.at - 9 * HOUR_MS, "deviceId": f"device-{name}"}
            self._rows[name] = row | changes
            if down_h is not None:
                self.lose(name, lastSeenAt=self.at - down_h * HOUR_MS)
        return self

    def remove(self, *names: str) -> Self:
        """Remove machines from the listing; undone by `restore`."""
        self._unlisted.update(names)
        return self

    def change(self, name: str, **changes: Any) -> Self:
        """Change fields by wire name, and `version`."""
        if version := changes.pop("version", None):
            changes["metadata"] = {**(self._rows[name].get("metadata") or {}), "lettaCodeVersion": version}
        self._rows[name] |= changes
        return self

    def lose(self, *names: str, **changes: Any) -> Self:
        for name in names:
            gone = {"connectionId": None, "lastHeartbeat": None, "podId": None, "lastSeenAt": self.at}
            self._rows[name] |= {"pod": self._rows[name].get("podId", "pod-1")} | gone | changes
        return self

    def freeze(self, name: str) -> Self:
        self._rows[name] |= {"lastHeartbeat": self.at - 10_000}
        return self

    def restore(self, *names: str) -> Self:
        self._unlisted.difference_update(names)
        for name in names:
            row = self._rows[name]
            row |= {"connectionId": f"conn-{name}-{self.at}", "connectedAt": self.at, "podId": row.pop("pod", "pod-1")}
            row.pop("lastHeartbeat", None)
            row.pop("lastSeenAt", None)
        return self

    def acknowledge(self, name: str, note: str) -> Self:
        profile_state = self.moment.profile_state
        ack = ack_of(profile_state.environments[clean(name)], self.at, clean(note))
        self.monitor = self.monitor.with_acks({key_of(name): ack})
        return self

    def branch(self) -> Night:
        """Return a night that goes on from here, independently of this night."""
        branch = copy(self)
        branch.history = self.history.branch()
        branch._rows = {name: dict(row) for name, row in self._rows.items()}  # noqa: SLF001  of this class
        branch._unlisted = set(self._unlisted)  # noqa: SLF001  of this class
        return branch

    def listing(self) -> Listed:
        """Return the result of a poll now, without a change of the monitor or the history."""
        return self._listed(self._listing())

    def poll(self, count: int = 1) -> Self:
        for _ in range(count):
            self._take(self.listing())
        return self

    def until(self, clock: str) -> Self:
        """Poll until the next time of day; stop before that poll."""
        end = self._next(clock)
        while self.at < end:
            self.poll()
        return self

    def fail(self, until: str, cause: Cause = Cause.TIMEOUT) -> Self:
        return self.fail_times((self._next(until) - self.at) // self._step_ms, cause)

    def fail_times(self, count: int, cause: Cause = Cause.TIMEOUT) -> Self:
        for _ in range(count):
            self._take(failed(cause, self.at, skew=self._skew_ms))
        return self

    def sleep(self, until: str) -> Self:
        return self.sleep_for(self._next(until) - self.at)

    def sleep_for(self, milliseconds: int) -> Self:
        before, self.at = self.at, self.at + milliseconds
        self._take(slept(before, self.at, skew=self._skew_ms), passes=False)
        return self

    def stop(self, until: str) -> Self:
        """Stop envwatch, and start again at a time."""
        return self.stop_for(self._next(until) - self.at)

    def stop_for(self, milliseconds: int) -> Self:
        self.at += milliseconds
        self._start_run()
        return self

    def empty(self, count: int) -> Self:
        for _ in range(count):
            self._take(self._listed([]))
        return self

    def _listed(self, rows: Sequence[Environment]) -> Listed:
        outcome = listed(rows, self.at, skew=self._skew_ms, interval=timedelta(milliseconds=self._step_ms))
        return outcome._replace(ended=reading(self.at + self._latency_ms, self._skew_ms))

    def _listing(self) -> list[Environment]:
        at = self.at
        beats = {"lastHeartbeat": at - 10_000, "lastSeenAt": at - 10_000}
        return [
            environment(name, **{key: value for key, value in (beats | row).items() if key != "pod"})
            for name, row in self._rows.items()
            if name not in self._unlisted
        ]

    def _take(self, outcome: Outcome, *, passes: bool = True) -> None:
        if self._is_first and self._compares_runs and (before := self._last_of_run_before()) is not None:
            self._seam = Seam.after(before, self.monitor.fleet.by_profile[NO_PROFILE])
        self._is_first = False
        now = outcome.awake if isinstance(outcome, Slept) else outcome.ended
        self.monitor, update = self.monitor.apply(NO_PROFILE, outcome, now)
        if self._seam is not None:
            self._seam, events = self._seam.after_outcome(outcome, update.events)
            update = update._replace(events=tuple(events))
            self._seam = None if self._seam.is_over else self._seam
        self.history.record(self.monitor, update)
        if passes:
            self.at += self._step_ms

    def _last_of_run_before(self) -> Moment | None:
        polls = self.history.polls(WallMs(0), WallMs(self.wall - 1))
        moments = (self.history.moment(poll) for poll in reversed(polls))
        return next((moment for moment in moments if moment.profile_state.listed is not None), None)

    def _next(self, clock: str) -> int:
        local = datetime.fromtimestamp(self.at / 1000, ZONE)
        hour, minute = map(int, clock.split(":"))
        at = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if at <= local:
            at += timedelta(days=1)
        return int(at.timestamp() * 1000)


@cache
def eventful_night() -> Night:
    night = Night()
    machines = ("ana-devbox", "ben-box", "chen-imac", "divya-mini", "eve-laptop", "fra-1", "fra-2", "hiro-gpu-3")
    night.add(*machines, podId="p-5").add(*EDGES, podId="p-7").add("sandbox-4f2a", podId="p-5")
    night.add("old-nas", "old-jenkins", down_h=80)
    night.change("hiro-gpu-3", version="0.33.7").change("ben-box", version="0.33.7").change("fra-2", version="0.34.11")
    night.until("22:30").change("chen-imac", currentMode="unrestricted")
    night.until("23:10").change("chen-imac", currentMode="standard")
    night.until("23:30").lose("ben-box").until("00:11").restore("ben-box")
    night.until("00:30").lose("ana-devbox").stop("01:00")
    night.until("02:13").lose(*EDGES).until("02:15").restore(*(name for name in EDGES if name != "edge-4"))
    night.until("02:40").acknowledge("edge-4", "disk is full, see https://tracker.example/4711")
    night.until("03:00").fail("03:08").until("03:30").sleep("03:45").until("04:00")
    for _ in range(8):
        night.lose("divya-mini").poll(2).restore("divya-mini").poll(2)
    night.until("04:30").change("fra-1", version="0.34.13").change("edge-1", version="0.34.13")
    night.until("04:45").add("build-9", podId="p-5", metadata={"lettaCodeVersion": "0.34.13"})
    night.until("05:00").remove("sandbox-4f2a").change("eve-laptop", connectionName="eve-macbook")
    night.until("05:20").change("fra-2", currentMode="unrestricted")
    return night.until("05:30").empty(2).until("05:50").freeze("hiro-gpu-3").until("06:00")
