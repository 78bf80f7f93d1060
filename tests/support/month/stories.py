"""Short scripts, each about one question that the months leave open, with a line about what envwatch says.

A line has each loss of the machines in question: the share of the time up by the model of permanent rows, what the
share decides, and whether a message came within an hour.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from support.builders import environment
from support.month.playing import steps
from support.month.scoring import moment, score
from support.month.script import BEAT, BEGIN, DAY, HOUR, SECOND, Cause, Fault, Script, covered
from support.month.watchers import Envwatch, EnvwatchAtDay, new_monitor
from support.permanent_model import PermanentModel

from envwatch.fleet import uptime_record
from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.uptime_record import with_uptimes
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerMs, WallMs
from envwatch.model.outcome import Listed, ListedPage, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from support.month.playing import Step
    from support.month.scoring import Message

    from envwatch.model.environment import Environment


Write: TypeAlias = "Callable[[Script], Sequence[Sequence[int]]]"


@dataclass(frozen=True)
class Story:
    write: Write
    """Writes the events, and returns the rows of each machine in question."""
    days: int = 17
    watcher: type[Envwatch] = Envwatch

    def line(self, name: str) -> str:
        script = Script(self.days * DAY)
        for number in range(12):
            script.row(f"steady-{number}", -10 * DAY + number * 1_700)
        machines = self.write(script)
        watcher = self.watcher(AlertPolicy())
        seen_script = watcher.script(script)
        lives = [_Life({str(script.first[row].id) for row in rows}, seen_script.blind()) for rows in machines]
        for step in steps(script):
            watcher.take(step)
            for life in lives:
                life.take(step, watcher)
        found = score(seen_script, watcher.messages)
        losses = sorted(loss for life in lives for loss in life.losses)
        more = f" and {len(losses) - _LOSSES} more" if len(losses) > _LOSSES else ""
        return (
            f"{name}: {len(watcher.messages)} messages, {found.missed} of {found.needs} needs missed, "
            f"of new rows {found.new_missed} of {found.new_needs}. "
            f"Losses: {', '.join(loss.text(watcher.messages) for loss in losses[:_LOSSES])}{more}"
        )


class _Loss(NamedTuple):
    at: int
    share: float
    decision: str
    ids: frozenset[str]

    def text(self, messages: Iterable[Message]) -> str:
        told = any(message.ids & self.ids and self.at <= message.at <= self.at + HOUR for message in messages)
        return f"{moment(self.at)} {self.share:.1%} {self.decision}{', told' * told}"


class _Life:
    """The life of a machine, as seen in the listings of a monitor."""

    def __init__(self, ids: Iterable[str], blind: Sequence[tuple[int, int]]) -> None:
        self._ids = frozenset(ids)
        self._blind = blind
        self._at: int | None = None
        self._is_up: bool | None = None
        self._model = PermanentModel()
        self.losses: list[_Loss] = []

    def take(self, step: Step, watcher: Envwatch) -> None:
        if not isinstance(step.outcome, Listed):
            return
        if self._at is not None and self._is_up is not None and not covered(self._blind, self._at, step.at):
            self._model.add((step.at - self._at) / HOUR, is_up=self._is_up)
        rows = [row for row in watcher.monitor.fleet.environments if row.environment.id in self._ids]
        is_up = any(row.verdict.is_up for row in rows) if rows else None
        if self._is_up and not is_up:
            model = self._model
            decision = "permanent" if model.is_permanent else "not permanent" if model.is_known else "not known"
            self.losses.append(_Loss(step.at, model.share, decision, self._ids))
        self._at, self._is_up = step.at, is_up


def _nightly(hours: int, nights: Sequence[int]) -> Write:
    def write(script: Script) -> Sequence[Sequence[int]]:
        row = script.row("subject", -10 * DAY)
        for night in nights:
            at = night * DAY + 22 * HOUR
            script.down(row, at, at + hours * HOUR, Cause.CRASH)
        return [[row]]

    return write


def _three_days(script: Script) -> Sequence[Sequence[int]]:
    row = script.row("subject", -10 * DAY)
    script.down(row, 7 * DAY, 10 * DAY, Cause.CRASH)
    for day in (11, 12):
        script.down(row, day * DAY, day * DAY + HOUR, Cause.CRASH)
    return [[row]]


def _crash_loop(script: Script) -> Sequence[Sequence[int]]:
    row = script.row("subject", -10 * DAY)
    script.flap(row, 4 * DAY, 4 * DAY + 6 * HOUR, lambda: 25)
    return [[row]]


def _new_server(script: Script) -> Sequence[Sequence[int]]:
    row = script.row("subject", 2 * DAY)
    for day in (3, 5):
        script.down(row, day * DAY, day * DAY + HOUR, Cause.CRASH)
    return [[row]]


def _vms(script: Script) -> Sequence[Sequence[int]]:
    rows = [script.row(f"vm-{number}", DAY + number * HOUR, is_notable=False) for number in range(6)]
    for number, row in enumerate(rows):
        end = DAY + number * HOUR + (1 + number % 3) * DAY
        script.end(row, end, Cause.VM_END, end + HOUR)
    return [[row] for row in rows]


def _laptop(docked: range) -> Write:
    """Return a story of a laptop with office hours that is docked for some days."""

    def write(script: Script) -> Sequence[Sequence[int]]:
        row, asleep_at = script.row("subject", -10 * DAY, is_notable=False), -HOUR
        for day in range(script.length // DAY):
            if day in docked[1:]:
                continue
            script.sleep(row, asleep_at, day * DAY + 9 * HOUR)
            asleep_at = (docked[-1] if day in docked else day) * DAY + 18 * HOUR
        script.sleep(row, asleep_at, script.length)
        return [[row]]

    return write


def _clones(script: Script) -> Sequence[Sequence[int]]:
    rows = [script.row(f"clone-{number}", (number - 20) * DAY, device="one-image") for number in range(6)]
    for number, row in enumerate(rows[:2]):
        script.down(row, (4 + number) * DAY, (4 + number) * DAY + 2 * HOUR, Cause.CRASH)
    return [[row] for row in rows]


def _renamed_twice(script: Script) -> Sequence[Sequence[int]]:
    first = script.row("subject", -10 * DAY)
    second = script.rename(first, 3 * DAY, 9 * SECOND, "subject-b", drops_after=HOUR)
    third = script.rename(second, 4 * DAY, 9 * SECOND, "subject-c", drops_after=HOUR)
    script.down(third, 5 * DAY, 5 * DAY + HOUR, Cause.CRASH)
    return [[first, second, third]]


def _blind_weeks(script: Script) -> Sequence[Sequence[int]]:
    row = script.row("subject", -10 * DAY)
    script.trouble(3 * DAY, 17 * DAY, Fault.FAILING)
    script.down(row, 17 * DAY + 6 * HOUR, 17 * DAY + 7 * HOUR, Cause.CRASH)
    return [[row]]


_LOSSES: Final = 10
_NIGHTS: Final = range(8, 15)
STORIES: Final[Mapping[str, Story]] = {
    "down 1 h each night for a week": Story(_nightly(1, _NIGHTS)),
    "down 8 h each night for a week": Story(_nightly(8, _NIGHTS)),
    "down for 3 days, back, down twice": Story(_three_days),
    "crash loop of 6 h": Story(_crash_loop, days=6),
    "new server, down after 1 and 3 days": Story(_new_server, days=7),
    "VMs of 1, 2 and 3 days": Story(_vms, days=6),
    "laptop, docked for a week": Story(_laptop(range(7, 14)), days=21),
    "laptop, docked for three weeks": Story(_laptop(range(7, 28)), days=35),
    "six clones with one device id": Story(_clones, days=7),
    "renamed twice": Story(_renamed_twice, days=7),
    "two blind weeks": Story(_blind_weeks, days=19),
    "monitor off at night, down 1 h at 22:00": Story(_nightly(1, _NIGHTS), watcher=EnvwatchAtDay),
    "monitor off at night, down 11 h from 22:00": Story(_nightly(11, range(5, 6)), watcher=EnvwatchAtDay),
    "monitor off at night, laptop": Story(_laptop(range(7, 7)), watcher=EnvwatchAtDay),
}


def crowd(count: int = 10_000, listings: int = 70) -> str:
    """Return a line with the time that the record of a large fleet takes, and the size of the file.

    A listing comes every 10 s. In each listing, some rows are lost and some are back.
    """
    monitor, times = new_monitor(AlertPolicy()), list[float]()
    first = [environment(f"env-{number}", connectionName=f"name-{number}") for number in range(count)]
    for number in range(listings):
        at = number * 10 * SECOND
        rows = [
            replace(row, last_heartbeat_at=ServerMs(float(BEGIN + at - place % BEAT)))
            if (place + number) % 400
            else replace(row, last_heartbeat_at=None, connection_id=None)
            for place, row in enumerate(first)
        ]
        outcome, now = _listing(rows, at)
        before, record = monitor.fleet.by_profile[NO_PROFILE], monitor.uptime_records[NO_PROFILE]
        after, _ = before.apply(outcome)
        began = time.process_time()
        with_uptimes(after, record.apply(before, after)[1])
        times.append(time.process_time() - began)
        monitor, _ = monitor.apply(NO_PROFILE, outcome, now)
    size = len(json.dumps(uptime_record.content_of(monitor.uptime_records[NO_PROFILE])))
    return (
        f"{count:,} rows: the record takes {median(times) * 1000:.1f} ms of a listing, {max(times[1:]) * 1000:.1f} ms "
        f"at most; the file has {size / 1024:,.0f} KiB"
    )


def _listing(environments: list[Environment], at: int) -> tuple[Listed, Clocks]:
    now = Clocks(WallMs(float(BEGIN + at)), MonotonicS(at / 1000))
    bounds = OffsetBounds.of_answer((BEGIN + at) // 1000 * 1000, now.wall, now.wall)
    page = ListedPage(environments, now.wall)
    return Listed(Snapshot.of_pages(pages=(page,), clock=(bounds,), requests=1), now, now, timedelta(seconds=10)), now
