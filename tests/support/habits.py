"""Recorded weeks of a fleet with office hours, nights, holidays, absences, and gaps of envwatch."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Final

from support.builders import environment, listed
from support.memory_history import MemoryHistory

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.outages import Interval, UptimeState
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.past.habits import Calendar, habit_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from zoneinfo import ZoneInfo

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed
    from envwatch.past.habits import Kept

EVERY: Final = timedelta(minutes=10)
"""Time between polls."""
DAY: Final = timedelta(days=1)


@dataclass
class Weeks:
    """Rows and their on-times, by the clocks of a zone, from a date on."""

    zone: ZoneInfo
    first: date
    days: int = 28
    on: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    wire: dict[str, dict[str, object]] = field(default_factory=dict)
    gaps: list[tuple[datetime, datetime]] = field(default_factory=list)

    @property
    def dates(self) -> list[date]:
        return [self.first + count * DAY for count in range(self.days)]

    def at(self, day: date, hours: float) -> datetime:
        """Return an instant by a day and hours of the clocks; hours may be negative, or over 24."""
        shown = datetime.combine(day, time()) + timedelta(hours=hours)
        return shown.replace(tzinfo=self.zone).astimezone(UTC)

    def row(self, name: str, *spans: tuple[datetime, datetime], **wire: object) -> None:
        self.on[name], self.wire[name] = [*spans], wire

    def always_on(self, name: str, *offs: tuple[datetime, datetime], **wire: object) -> None:
        begin = self.at(self.first, -24)
        spans = []
        for since, until in sorted(offs):
            spans.append((begin, since))
            begin = until
        self.row(name, *spans, (begin, self.at(self.dates[-1], 48)), **wire)

    def office(
        self,
        name: str,
        chance: Random,
        *,
        begin: float = 9.2,
        end: float = 17.8,
        jitter: float = 0.4,
        absent: Sequence[date] = (),
        **wire: object,
    ) -> None:
        """Add a row with office hours; `jitter` is in hours."""
        spans = [
            tuple(self.at(day, hours + chance.uniform(-jitter, jitter)) for hours in (begin, end))
            for day in self.dates
            if day.weekday() < 5 and day not in absent
        ]
        self.row(name, *((since, until) for since, until in spans), **wire)

    @property
    def period(self) -> tuple[float, float]:
        return self.at(self.first, 0).timestamp() * 1000, self.at(self.dates[-1], 24).timestamp() * 1000

    def intervals(self, name: str) -> list[Interval]:
        """Return a row's states as the history tells them, without any poll."""
        since, until = self.period
        ons = [(begin.timestamp() * 1000, end.timestamp() * 1000) for begin, end in self.on[name]]
        gaps = [(begin.timestamp() * 1000, end.timestamp() * 1000) for begin, end in self.gaps]
        cuts = sorted({since, until, *(at for span in (*ons, *gaps) for at in span if since < at < until)})
        found: list[Interval] = []
        for begin, end in pairwise(cuts):
            is_on, is_gap = (any(first <= begin < last for first, last in spans) for spans in (ons, gaps))
            state = UptimeState.UNKNOWN if is_gap else UptimeState.UP if is_on else UptimeState.DOWN
            first = found.pop().since if found and found[-1].state is state else ServerMs(begin)
            found.append(Interval(state, first, ServerMs(end)))
        return found

    def kept(self, name: str) -> Kept | None:
        return habit_of(self.intervals(name), Calendar.between(self.period[0], self.period[1] - 1, self.zone))

    def listings(self, every: timedelta = EVERY) -> Iterator[Listed]:
        at, end = self.at(self.first, 0), self.at(self.dates[-1], 24)
        while at < end:
            if not any(since <= at < until for since, until in self.gaps):
                yield listed([self._row(name, at) for name in self.on], at.timestamp() * 1000, interval=every)
            at += every

    def _row(self, name: str, at: datetime) -> Environment:
        wire: dict[str, object] = {"connectionName": name, **self.wire[name]}
        seen = [until for since, until in self.on[name] if since <= at]
        if seen and at < seen[-1]:
            beat = at.timestamp() * 1000 - 1_000
            return environment(f"env-{name}", lastHeartbeat=beat, lastSeenAt=beat, **wire)
        last = (seen[-1] if seen else self.at(self.first, -24)).timestamp() * 1000
        return environment(f"env-{name}", connectionId=None, lastHeartbeat=None, lastSeenAt=last, **wire)

    def recorded(self, every: timedelta = EVERY) -> MemoryHistory:
        history = MemoryHistory()
        history.start_run()
        monitor = Monitor.create({NO_PROFILE: Limits()})
        for outcome in self.listings(every):
            monitor, changes = monitor.apply(NO_PROFILE, outcome, outcome.ended)
            history.record(monitor, changes)
        return history


def a_company(zone: ZoneInfo, first: date, seed: int = 1, *, laptops: int = 36, servers: int = 60) -> Weeks:
    """Return laptops of an office and of freelancers, servers, sandboxes, a night worker, an ill person, a holiday."""
    weeks, chance = Weeks(zone, first), Random(seed)
    holiday = weeks.dates[10]
    ill = weeks.dates[7:14]
    for number in range(laptops):
        absent = [holiday, *(ill if number == 3 else ())]
        os = {"os": "win32" if number % 5 == 0 else "darwin"}
        weeks.office(f"laptop-{number:02}", chance, absent=absent, metadata=os)
    for number in range(4):
        weeks.office(f"macbook of freelancer {number}", chance, begin=12.5, end=20.3, metadata={"os": "darwin"})
    for number in range(servers):
        since = weeks.at(chance.choice(weeks.dates), chance.uniform(0, 20))
        weeks.always_on(f"web-{number}", (since, since + timedelta(hours=2)), metadata={"os": "linux"})
    for number in range(6):
        begin = weeks.at(weeks.dates[number], 3)
        weeks.row(f"sandbox {number}", (begin, begin + 30 * timedelta(hours=1)), listenerInstanceId=f"sandbox:{number}")
    nights = [
        (weeks.at(day, 21.5 + chance.uniform(-0.3, 0.3)), weeks.at(day, 29.8 + chance.uniform(-0.3, 0.3)))
        for day in weeks.dates
        if day.weekday() < 5
    ]
    weeks.row("night-shift", *nights, metadata={"os": "linux"})
    weeks.always_on(
        "backup", *((weeks.at(day, 2.1), weeks.at(day, 2.8)) for day in weeks.dates), metadata={"os": "linux"}
    )
    weeks.always_on(
        "lab",
        *((weeks.at(day, -4), weeks.at(day, 55)) for day in weeks.dates if day.weekday() == 5),
        metadata={"os": "linux"},
    )
    weeks.row("scrapped", metadata={"os": "linux"})
    for day in (4, 17):
        weeks.gaps.append((weeks.at(weeks.dates[day], 14), weeks.at(weeks.dates[day], 23)))
    weeks.gaps.append((weeks.at(weeks.dates[20], 0), weeks.at(weeks.dates[22], 6)))
    return weeks
