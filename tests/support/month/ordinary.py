"""A random but plausible month of 200 machines, by seed; the figures of the documentation rest on these rates.

Nothing here is tuned to a rule of envwatch. Two events of one server are at least 20 minutes apart; platform and
monitor events may coincide with all others.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Final

from support.month.script import BEAT, DAY, HOUR, MINUTE, SECOND, Cause, Change, Fault, Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SITES: Final = {"fra": 45, "nyc": 28, "sfo": 22, "tok": 13, "syd": 8, "lab": 6}
"""Servers per site: 122 in total."""
LAPTOPS: Final = 50
_LAPTOP_SYSTEMS: Final = ("darwin", "darwin", "win32", "linux")
SANDBOXES: Final = 16
"""Sandboxes that exist at a time, most of the day."""
RUNNERS: Final = 12
VMS: Final = 2
"""Machines that live for days."""
DESKS: Final = 4
"""Machines that are switched off at night."""
_APART: Final = 20 * MINUTE
_PODS: Final = 5
_FAULTS: Final = (
    (6, Fault.FAILING),
    (2, Fault.EMPTY),
    (2, Fault.VANISHED),
    (2, Fault.BEATS_LOST),
    (2, Fault.STALLED),
    (2, Fault.WRONG_DATE),
    (1, Fault.WRONG_TIMES),
    (1, Fault.ROUNDED),
)
"""Faults of the platform, with occurrences per month."""


def ordinary_month(seed: int, days: int = 30) -> Script:
    return _Life(seed, days).script


def servers_in(script: Script) -> list[str]:
    """Return the device ids of the servers that existed when the month began."""
    return sorted({str(env.device_id) for env in script.first if env.name.split("-")[0] in SITES})


class _Life:
    def __init__(self, seed: int, days: int) -> None:
        self._random = Random(seed)
        self.script = Script(days * DAY)
        self._days = days
        self._busy: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._sites: dict[str, list[int]] = {}
        """Indices of the first rows of a site's machines."""
        self._renamed: dict[int, list[tuple[int, int]]] = {}
        """Later rows of machines: start moment and row index."""
        self._absences: list[tuple[int, int]] = []
        self._cut_at: list[int] = []
        self._machines()
        self._first_day()
        self._renames()
        self._cuts()
        self._cascades()
        self._upgrades()
        self._flaps()
        self._crashes()
        self._new_servers()
        self._platform()
        self._monitor()

    def _often(self, a_month: float) -> Iterator[int]:
        """Yield a number per occurrence, for an average of `a_month` occurrences per month."""
        expected = a_month * self._days / 30
        count = int(expected) + (self._random.random() < expected % 1)
        return iter(range(count))

    def _moment(self, end: int = 2 * HOUR) -> int:
        return self._random.randrange(20 * MINUTE, self.script.length - end)

    def _seconds(self, least: float, most: float) -> int:
        return int(self._random.uniform(least, most) * SECOND)

    def _skewed(self, least: int, most: int) -> int:
        """Return a log-uniform time in milliseconds: 1 to 2 minutes is as likely as 1 to 2 hours."""
        return int(least * (most / least) ** self._random.random())

    def _machines(self) -> None:
        for site, count in SITES.items():
            rows = [
                self.script.row(f"{site}-{number:02}", self._registered_at(), pod=self._pod())
                for number in range(count - 1)
            ]
            # Two listeners on one machine.
            device, pod = self.script.first[rows[0]].device_id, self._pod()
            twin = self.script.row(f"{site}-00-second", self._registered_at(), device=device, pod=pod)
            self._sites[site] = [*rows, twin]
        for number in range(LAPTOPS):
            self._laptop(f"laptop-{number:02}", _LAPTOP_SYSTEMS[number % len(_LAPTOP_SYSTEMS)])
        for number in range(SANDBOXES):
            self._sandboxes(number)
        for number in range(RUNNERS):
            self._runner(number)
        for number in range(VMS):
            self._vms(number)
        for number in range(DESKS):
            self._desk(number)

    def _registered_at(self) -> int:
        return -self._random.randrange(DAY, 60 * DAY)

    def _pod(self) -> str:
        return f"pod-{self._random.randrange(_PODS)}"

    def _laptop(self, name: str, os: str) -> None:
        """Add a laptop, which goes to sleep with an open connection, or sometimes closes the connection."""
        script = self.script
        row = script.row(name, self._registered_at(), os=os, pod=self._pod(), is_notable=False)
        asleep_at = -HOUR
        for at, until in sorted(self._awake()):
            if until <= max(at, asleep_at):
                continue
            if at > asleep_at + MINUTE:
                if self._random.random() < 0.15:
                    script.do(row, asleep_at, Change.DOWN, is_notable=False)
                    script.do(row, at, Change.UP, is_notable=False)
                    script.note(row, asleep_at, at, Cause.SLEEP)
                else:
                    script.sleep(row, asleep_at, at)
            asleep_at = until
        if asleep_at < script.length:
            script.sleep(row, asleep_at, script.length)

    def _awake(self) -> Iterator[tuple[int, int]]:
        """Yield times of a laptop with office hours: asleep at night, at weekends, on some days, and around noon.

        Some laptops stay awake for a night, or are docked for a week. The times may overlap.
        """
        chance = self._random
        begins, ends = chance.uniform(7.5, 10), chance.uniform(16.5, 19)
        for day in range(self._days):
            if (day % 7 >= 5 and chance.random() < 0.9) or chance.random() < 0.08:
                continue
            at = day * DAY + int((begins + chance.gauss(0, 0.3)) * HOUR)
            until = day * DAY + int((ends + chance.gauss(0, 0.4)) * HOUR)
            if chance.random() < 0.03:
                until += 5 * HOUR
            for pause in sorted(
                chance.sample(range(at + HOUR, until - HOUR, 30 * MINUTE), chance.choice((0, 1, 1, 2)))
            ):
                yield at, pause
                at = pause + self._skewed(5 * MINUTE, 80 * MINUTE)
            yield at, until
            if chance.random() < 0.02:
                yield until, until + self._seconds(10 * 3_600, 16 * 3_600)
        for _ in self._often(0.1):
            docked_at = chance.randrange(self._days) * DAY + int(begins * HOUR)
            yield docked_at, docked_at + 7 * DAY

    def _sandboxes(self, number: int) -> None:
        """Add successive sandboxes: each ends by design, and the row leaves the listing later."""
        script, at, count = self.script, -self._random.randrange(3 * HOUR), 0
        while at < script.length - MINUTE:
            count += 1
            row = script.row(
                f"sandbox {number}-{count}",
                at,
                device=f"sandbox-{number}-{count}",
                instance=f"sandbox:{number}-{count}",
                pod=self._pod(),
                is_notable=False,
            )
            until = max(at, 0) + self._skewed(30 * MINUTE, 48 * HOUR)
            if until >= script.length:
                return
            script.end(row, until, Cause.SANDBOX_END, until + self._skewed(5 * MINUTE, 5 * HOUR))
            at = until + self._skewed(MINUTE, HOUR)

    def _runner(self, number: int) -> None:
        """Add a CI runner: half of the runners keep one row for all jobs, the rest get a new row per job."""
        script, keeps_row = self.script, number % 2 == 0
        at, row = self._random.randrange(HOUR), -1
        while at < script.length - HOUR:
            pod, until = self._pod(), at + self._skewed(4 * MINUTE, 12 * HOUR)
            if not keeps_row or row < 0:
                row = script.row(f"ci-{number}", at, pod=pod, is_notable=False)
            else:
                script.do(row, at, Change.UP, is_notable=False)
            if until >= script.length:
                return
            hour = until // HOUR % 24
            is_busy = 8 <= hour < 18 and until // DAY % 7 < 5
            again_at = until + self._skewed(MINUTE, 3 * HOUR if is_busy else 14 * HOUR)
            removed_at = None if keeps_row else until + self._skewed(2 * MINUTE, HOUR)
            script.end(row, until, Cause.JOB_END, removed_at)
            if keeps_row:
                script.episodes[-1] = script.episodes[-1]._replace(until=min(again_at, script.length))
            at = again_at

    def _vms(self, number: int) -> None:
        """Add successive VMs: each lives for days, ends by design, and leaves the listing soon after."""
        script, at, count = self.script, -self._random.randrange(2 * DAY), 0
        while at < script.length - MINUTE:
            count += 1
            row = script.row(f"vm-{number}-{count}", at, pod=self._pod(), is_notable=False)
            until = max(at + self._seconds(86_400, 3 * 86_400), HOUR)
            if until >= script.length:
                return
            script.end(row, until, Cause.VM_END, until + self._skewed(2 * MINUTE, HOUR))
            at = until + self._skewed(MINUTE, 12 * HOUR)

    def _desk(self, number: int) -> None:
        row, off_at = self.script.row(f"desk-{number}", self._registered_at(), is_notable=False), -4 * HOUR
        for day in range(self._days):
            at = day * DAY + 7 * HOUR + self._seconds(0, 900)
            self.script.do(row, off_at, Change.DOWN, is_notable=False)
            self.script.do(row, at, Change.UP, is_notable=False)
            self.script.note(row, off_at, at, Cause.NIGHT)
            off_at = day * DAY + 20 * HOUR + self._seconds(0, 900)
        self.script.end(row, off_at, Cause.NIGHT)

    @property
    def _servers(self) -> list[int]:
        return [row for rows in self._sites.values() for row in rows]

    def _row_at(self, machine: int, at: int) -> int:
        rows = [row for since, row in self._renamed.get(machine, ()) if since <= at]
        return rows[-1] if rows else machine

    def _take(self, machine: int, since: int, until: int) -> bool:
        """Reserve a machine for a time; return False if another event occupies that time."""
        since, until = since - _APART, until + _APART
        if since < 0 or any(begin < until and since < end for begin, end in self._busy[machine]):
            return False
        self._busy[machine].append((since, until))
        return True

    def _renames(self) -> None:
        names = iter(range(1_000))
        for number in self._often(9):
            machine, at, gap = self._random.choice(self._servers), self._moment(), self._seconds(1, 25)
            again_at = at + self._skewed(30 * MINUTE, 6 * HOUR)
            is_reverted = number % 4 == 3 and again_at < self.script.length - HOUR
            if machine in self._renamed or not self._take(machine, at, again_at if is_reverted else at + gap):
                continue
            old = self.script.first[machine].name
            drops_after = None if is_reverted else self._skewed(HOUR, 2 * DAY)
            new = self.script.rename(machine, at, gap, f"{old}-new-{next(names)}", drops_after=drops_after)
            self._renamed[machine] = [(at, new)]
            if is_reverted:
                self.script.rename_back(machine, new, again_at, gap)
                self._renamed[machine].append((again_at, machine))

    def _cuts(self) -> None:
        for _ in self._often(6):
            rows, at = self._random.choice(list(self._sites.values())), self._moment(9 * HOUR)
            until = at + self._skewed(30 * SECOND, 6 * HOUR)
            rows = [row for row in rows if self._take(row, at, until + 5 * MINUTE)]
            backs = [until + self._seconds(20, 240) for _ in rows]
            self.script.cut([self._row_at(row, at) for row in rows], at, backs)
            self._cut_at.append(at)

    def _cascades(self) -> None:
        for _ in self._often(4):
            at, is_silent = self._moment(), self._random.random() < 0.5
            for machine in self._random.sample(self._servers, self._random.randrange(4, 16)):
                at += self._seconds(3, 60)
                until = at + self._skewed(3 * MINUTE, HOUR)
                if self._take(machine, at, until):
                    self.script.down(self._row_at(machine, at), at, until, Cause.CASCADE, is_silent=is_silent)

    def _upgrades(self) -> None:
        """Upgrade the servers of one or all sites in batches: each server is down for 20 to 90 s."""
        for number in self._often(7):
            machines = self._servers if number % 3 == 0 else self._random.choice(list(self._sites.values()))
            at, width = self._moment(6 * HOUR), self._random.choice((1, 2, 4))
            for place, machine in enumerate(machines):
                since = at + self._seconds(0, 5)
                fails = self._random.random() < 0.008
                cause = Cause.FAILED_UPGRADE if fails else Cause.UPGRADE
                until = since + (self._skewed(6 * MINUTE, HOUR) if fails else self._seconds(20, 90))
                if self._take(machine, since, until):
                    self.script.down(self._row_at(machine, since), since, until, cause)
                if place % width == width - 1:
                    at += self._seconds(40, 120)

    def _flaps(self) -> None:
        for _ in self._often(7):
            machine, since = self._random.choice(self._servers), self._moment()
            until = since + self._skewed(MINUTE, 40 * MINUTE)
            if self._take(machine, since, until):
                self.script.flap(self._row_at(machine, since), since, until, self._flap_seconds())

    def _flap_seconds(self) -> Callable[[], int]:
        return lambda: self._random.randrange(8, 36)

    def _crashes(self) -> None:
        for _ in self._often(35):
            machine, since = self._random.choice(self._servers), self._moment(9 * HOUR)
            until = since + self._skewed(20 * SECOND, 8 * HOUR)
            if self._take(machine, since, until):
                is_silent, row = self._random.random() < 0.4, self._row_at(machine, since)
                is_last = all(end <= until + _APART for _, end in self._busy[machine])
                if until - since > HOUR and is_last and self._random.random() < 0.5:
                    name = f"{self.script.first[row].name}-anew"
                    self.script.set_up_anew(row, since, until, name, is_silent=is_silent)
                    self._busy[machine].append((until, self.script.length))
                else:
                    self.script.down(row, since, until, Cause.CRASH, is_silent=is_silent)

    def _first_day(self) -> None:
        """Crash a server on the first day, when no row has been watched for long."""
        machine, since = self._random.choice(self._servers), self._random.randrange(HOUR, 19 * HOUR)
        until = since + self._skewed(30 * MINUTE, 4 * HOUR)
        self._take(machine, since, until)
        self.script.down(machine, since, until, Cause.CRASH)

    def _new_servers(self) -> None:
        """Add servers that crash within three days of the registration."""
        for number in self._often(6):
            at = self._moment()
            row, since = self.script.row(f"new-{number}", at, pod=self._pod()), at + self._skewed(HOUR, 3 * DAY)
            until = since + self._skewed(6 * MINUTE, 4 * HOUR)
            if until < self.script.length:
                self.script.down(row, since, until, Cause.CRASH)

    def _platform(self) -> None:
        script = self.script
        for a_month, fault in _FAULTS:
            for _ in self._often(a_month):
                self._fault(self._moment(3 * HOUR), fault, 2 * HOUR if fault is Fault.FAILING else 20 * MINUTE)
        # Let rare faults also coincide with power cuts.
        for at in self._cut_at:
            if self._random.random() < 0.4:
                _, fault = self._random.choice(_FAULTS)
                self._fault(at + self._seconds(-300, 300), fault, 10 * MINUTE)
        for _ in self._often(40):
            since = self._moment()
            script.trouble(since, since + self._seconds(1, 6), Fault.FAILING)
        for _ in self._often(40):
            since = self._moment()
            script.trouble(since, since + self._seconds(1, 6), Fault.SHIFTED, share=0.02)
        for _ in self._often(3):
            self._restart_pod(f"pod-{self._random.randrange(_PODS)}", self._moment())
        for _ in self._often(2):
            since = self._moment()
            script.platform_outage(since, since + 10 * MINUTE, lambda: self._seconds(1, 45))

    def _fault(self, since: int, fault: Fault, most: int) -> None:
        error = self._random.choice((-1, 1)) * self._skewed(MINUTE, 3 * HOUR)
        until = since + self._skewed(10 * SECOND, most)
        self.script.trouble(since, until, fault, share=self._random.uniform(0.25, 0.9), error=error)

    def _restart_pod(self, pod: str, at: int) -> None:
        """Close all connections of servers in one pod of the platform; each server reconnects in seconds."""
        for machine in self._servers:
            row, back_at = self._row_at(machine, at), at + self._skewed(SECOND, BEAT)
            if self.script.first[row].pod_id == pod and self._take(machine, at, back_at):
                self.script.down(row, at, back_at, Cause.POD)

    def _monitor(self) -> None:
        """Stop the monitor for seconds or minutes, also during some power cuts, and let the monitor's machine sleep."""
        for at in self._cut_at[::2]:
            since = at + self._seconds(5, 300)
            self._away(since, since + self._skewed(8 * SECOND, 5 * MINUTE), Fault.STOPPED)
        for _ in self._often(8):
            since = self._moment()
            self._away(since, since + self._skewed(8 * SECOND, 10 * MINUTE), Fault.STOPPED)
        for _ in self._often(3):
            since = self._moment(10 * HOUR)
            self._away(since, since + self._skewed(MINUTE, 8 * HOUR), Fault.ASLEEP)
        chance, script = self._random, self.script
        script.skews[0] = (0, chance.randrange(-400, 400))
        for _ in self._often(1):
            since = self._moment()
            wrong = chance.choice((-1, 1)) * self._skewed(20 * SECOND, 3 * HOUR)
            script.skews += [(since, wrong), (since + self._skewed(5 * MINUTE, HOUR), script.skews[0][1])]

    def _away(self, since: int, until: int, fault: Fault) -> None:
        if all(until + MINUTE < begin or end + MINUTE < since for begin, end in self._absences):
            self._absences.append((since, until))
            self.script.trouble(since, until, fault)
