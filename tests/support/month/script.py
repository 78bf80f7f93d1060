"""A scripted month of machines and faults, with the times when a person is needed: for benches and tests of alerts.

Knows the platform and the machines, and no rule of envwatch. Instants are milliseconds since the script began.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field, fields, replace
from enum import Enum, StrEnum, auto
from functools import partial
from hashlib import blake2s
from typing import TYPE_CHECKING, Final, NamedTuple

from support.builders import environment

from envwatch.model.clock import ServerMs
from envwatch.model.environment import Environment
from envwatch.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

BEGIN: Final = 1_793_577_600_000
"""Monday, 2026-11-02, 00:00 UTC: the server's clock when a script begins."""
BEAT: Final = 30 * SECOND
EXPIRY: Final = 120 * SECOND
"""Age at which the official rule calls a heartbeat lost."""
NEEDED_AFTER: Final = 5 * MINUTE
"""A row that is down or flaps for this time needs a person, whom a message must reach within the same time."""
WATCHED_HOURS: Final = (7 * HOUR, 22 * HOUR)
"""When a monitor runs that is off at night."""
NEW_FOR: Final = 48 * HOUR
"""Watched time for which a row is new: nobody can know yet whether the row should always be up."""
CONNECTED_FOR: Final = DAY
"""A row of the first listing that had been connected for this time, on a machine that never sleeps, is not new."""
SLEEPING: Final = ("darwin", "win32")
"""Systems of machines that sleep."""
_MISSED: Final = 4
"""Missed pings in 1,024, never two in a row."""


class Cause(StrEnum):
    CRASH = "crash"
    CUT = "power cut"
    CASCADE = "cascade"
    FLAPPING = "flapping"
    FAILED_UPGRADE = "failed upgrade"
    UPGRADE = "planned upgrade"
    RENAME = "rename"
    SANDBOX_END = "end of a sandbox"
    JOB_END = "end of a CI job"
    VM_END = "end of a VM"
    SLEEP = "sleep of a laptop"
    NIGHT = "switched off for the night"
    POD = "restart of the platform's pod"
    OUTAGE = "outage of the platform"

    @property
    def needs_person(self) -> bool:
        return self in _NEEDING


BRIEF: Final = "under 5 minutes"
"""Suffix of the cause of a message about a machine that was down or flapped too briefly to need a person."""

_ENDING: Final = frozenset({Cause.SANDBOX_END, Cause.JOB_END, Cause.VM_END, Cause.RENAME})
"""A row may stay down for good after these causes."""
_NEEDING: Final = frozenset({Cause.CRASH, Cause.CUT, Cause.CASCADE, Cause.FLAPPING, Cause.FAILED_UPGRADE})


class Fault(StrEnum):
    FAILING = "polls fail"
    EMPTY = "the list is empty"
    VANISHED = "many rows vanish"
    BEATS_LOST = "rows lose lastHeartbeat"
    STALLED = "heartbeats stall"
    WRONG_TIMES = "heartbeats in seconds, not milliseconds"
    SHIFTED = "a few rows are missing in a shifting list"
    ROUNDED = "replicas round heartbeats differently"
    WRONG_DATE = "wrong Date"
    STOPPED = "monitor not running"
    ASLEEP = "monitor asleep"

    @property
    def is_blinding(self) -> bool:
        """Whether the fault hides the state of all machines."""
        return self not in (Fault.WRONG_DATE, Fault.ROUNDED, Fault.SHIFTED)


class Trouble(NamedTuple):
    since: int
    until: int
    fault: Fault
    share: float = 1.0
    """Fraction of the rows that the fault affects."""
    error: int = 0
    """Milliseconds by which the server's `Date` is ahead."""


class Episode(NamedTuple):
    since: int
    until: int
    cause: Cause
    id: str
    name: str


class Change(Enum):
    UP = auto()
    """New connection with an immediate ping."""
    DOWN = auto()
    """Closed connection."""
    SILENT = auto()
    """No pings, open connection."""
    AWAKE = auto()
    """Pings again, over the same connection."""
    REMOVED = auto()
    """Row left the listing."""


class Row:
    """A row in the platform's present state. Time only moves forward."""

    def __init__(self, env: Environment) -> None:
        self.environment = env
        self.beats_at: float = float("inf")
        """Time of the next ping; infinite while the row sends none."""
        self.began_at = 0
        """First ping of the present series."""
        digest = blake2s(env.id.encode(), digest_size=4).digest()
        self.salt = int.from_bytes(digest, "big")
        self._pod = env.pod_id
        self._connections = 0
        self._beating: Callable[..., Environment] = Environment

    @property
    def id(self) -> str:
        return self.environment.id

    @property
    def name(self) -> str:
        return self.environment.name

    def last_beat(self, at: int) -> int:
        """Return the newest ping's time: every 30 s, with a rare miss."""
        number = (at - self.began_at) // BEAT
        if number & 1 and (number * 2_654_435_761 + self.salt) >> 7 & 1_023 < _MISSED:
            number -= 1
        return self.began_at + number * BEAT

    def beat(self, at: int) -> None:
        self.beats_at = self.began_at + ((at - self.began_at) // BEAT + 1) * BEAT
        beat_at = ServerMs(float(BEGIN + self.last_beat(at)))
        if beat_at != self.environment.last_heartbeat_at:
            self.environment = self._beating(last_heartbeat_at=beat_at, last_seen_at=beat_at)

    def change(self, what: Change, at: int) -> None:
        match what:
            case Change.UP:
                self._connections += 1
                self.environment = replace(
                    self.environment,
                    connection_id=clean(f"conn-{self.id}-{self._connections}"),
                    connected_at=ServerMs(float(BEGIN + at)),
                    pod_id=self._pod,
                )
                # Much faster than `replace`: nearly all changes of a month are pings.
                self._beating = partial(Environment, **{name: getattr(self.environment, name) for name in _KEPT})
                self.began_at = at
                self.beat(at)
            case Change.AWAKE:
                self.began_at = at
                self.beat(at)
            case Change.SILENT:
                if self.beats_at <= at:
                    self.beat(at)
                self.beats_at = float("inf")
            case Change.DOWN | Change.REMOVED:
                self.beats_at = float("inf")
                self.environment = replace(
                    self.environment,
                    connection_id=None,
                    connected_at=None,
                    last_heartbeat_at=None,
                    last_seen_at=ServerMs(float(BEGIN + at)),
                    pod_id=None,
                )


_KEPT: Final = tuple(
    each.name for each in fields(Environment) if each.name not in ("last_heartbeat_at", "last_seen_at")
)
"""Fields that a ping does not change."""


class Action(NamedTuple):
    at: int
    number: int
    """Sorts actions of the same moment."""
    row: int
    what: Change
    is_notable: bool
    """Whether an alert may follow; watchers then poll faster for a while."""


class Need(NamedTuple):
    id: str
    name: str
    cause: Cause
    since: int
    until: int
    deadline: int
    """Latest time for a message with the row's name."""
    is_new: bool
    """Whether the row was watched for less than `NEW_FOR` before."""

    @property
    def is_visible(self) -> bool:
        """Whether the row was visibly down for five minutes; otherwise no message is required."""
        return self.deadline <= self.until


@dataclass
class Script:
    length: int
    """Milliseconds."""
    first: list[Environment] = field(default_factory=list)
    """All rows of the script at registration."""
    actions: list[Action] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    skews: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    """Moments from which the monitor's wall clock is ahead of the server, with the milliseconds."""
    predecessors: dict[str, str] = field(default_factory=dict)
    """Ids of renamed rows and of rows set up anew, by the id of the machine that replaces the row."""

    def row(
        self,
        name: str,
        up_at: int = -DAY,
        *,
        os: str = "linux",
        device: str | None = None,
        instance: str | None = None,
        pod: str = "pod-1",
        is_notable: bool = True,
    ) -> int:
        """Add a row that comes up at a moment, and return the row's index."""
        number = len(self.first)
        id_ = f"env-{number}-{_hex(name, number)[:6]}"
        self.first.append(
            environment(
                id_,
                connectionName=name,
                deviceId=device or f"device-{_hex(name, number)}",
                listenerInstanceId=instance or f"server-{_hex(name)}",
                firstSeenAt=float(BEGIN + up_at),
                lastSeenAt=float(BEGIN + up_at),
                podId=pod,
                metadata=_METADATA[os],
            )
        )
        self.do(number, up_at, Change.UP, is_notable=is_notable)
        return number

    def do(self, row: int, at: int, what: Change, *, is_notable: bool = True) -> None:
        insort(self.actions, Action(at, len(self.actions), row, what, is_notable))

    def down(self, row: int, since: int, until: int, cause: Cause, *, is_silent: bool = False) -> None:
        """Take a row down until the row has a new connection: with a closed connection, or silent."""
        self.do(row, since, Change.SILENT if is_silent else Change.DOWN)
        if until < self.length:
            self.do(row, until, Change.UP)
        self.note(row, since, until, cause)

    def sleep(self, row: int, since: int, until: int) -> None:
        self.do(row, since, Change.SILENT, is_notable=False)
        if until < self.length:
            self.do(row, until, Change.AWAKE, is_notable=False)
        self.note(row, since, until, Cause.SLEEP)

    def cut(self, rows: Sequence[int], at: int, backs: Sequence[int]) -> None:
        """Cut the power of rows at one moment; `backs` has a return time for each row."""
        for row, back in zip(rows, backs, strict=True):
            self.down(row, at, back, Cause.CUT, is_silent=True)

    def flap(self, row: int, since: int, until: int, seconds: Callable[[], int]) -> None:
        """Let a row's connection drop and return; `seconds` gives the length of each state."""
        at, is_up = since, True
        while at < until:
            self.do(row, at, Change.DOWN if is_up else Change.UP)
            is_up = not is_up
            at += seconds() * SECOND
        if not is_up:
            self.do(row, until, Change.UP)
        self.note(row, since, until, Cause.FLAPPING)

    def rename(self, row: int, at: int, gap: int, name: str, *, drops_after: int | None = None) -> int:
        """Rename a machine: a new row on the same device comes up after a gap. Return the new row's index."""
        self.do(row, at, Change.DOWN)
        self.note(row, at, self.length if drops_after is None else at + drops_after, Cause.RENAME)
        if drops_after is not None:
            self.do(row, at + drops_after, Change.REMOVED)
        return self._next_row(row, name, at + gap)

    def set_up_anew(self, row: int, since: int, until: int, name: str, *, is_silent: bool = False) -> int:
        """Let a machine crash and return as a new row on the same device. Return the new row's index."""
        self.do(row, since, Change.SILENT if is_silent else Change.DOWN)
        self.note(row, since, until, Cause.CRASH)
        self.note(row, until, self.length, Cause.RENAME)
        return self._next_row(row, name, until)

    def _next_row(self, row: int, name: str, at: int) -> int:
        before = self.first[row]
        following = self.row(name, at, device=before.device_id, pod=str(before.pod_id))
        self.predecessors[self.first[following].id] = before.id
        return following

    def rename_back(self, row: int, new: int, at: int, gap: int) -> None:
        """Give a machine the former name: the old row comes up again after a gap."""
        self.do(new, at, Change.DOWN)
        self.note(new, at, self.length, Cause.RENAME)
        self.do(row, at + gap, Change.UP)

    def end(self, row: int, at: int, cause: Cause, removed_at: int | None = None) -> None:
        self.do(row, at, Change.DOWN, is_notable=False)
        if removed_at is not None:
            self.do(row, removed_at, Change.REMOVED, is_notable=False)
        self.note(row, at, removed_at or self.length, cause)

    def platform_outage(self, since: int, until: int, back_after: Callable[[], int]) -> None:
        """Fail all polls and close all connections; `back_after` gives the time from the end to a row's reconnect."""
        self.trouble(since, until, Fault.FAILING)
        is_up, changing = dict[int, bool](), set[int]()
        for action in self.actions:
            if action.at <= since:
                is_up[action.row] = action.what in (Change.UP, Change.AWAKE)
            elif action.at <= until + MINUTE:
                changing.add(action.row)
        for row in (row for row, up in is_up.items() if up and row not in changing):
            self.down(row, since, until + back_after(), Cause.OUTAGE)

    def note(self, row: int, since: int, until: int, cause: Cause) -> None:
        env = self.first[row]
        self.episodes.append(Episode(since, min(until, self.length), cause, env.id, env.name))

    def trouble(self, since: int, until: int, fault: Fault, *, share: float = 1.0, error: int = 0) -> None:
        insort(self.troubles, Trouble(since, until, fault, share, error))

    def with_troubles(self, troubles: Iterable[Trouble]) -> Script:
        """Return the script of a monitor with more troubles."""
        return replace(self, troubles=sorted([*self.troubles, *troubles]))

    def rows(self) -> list[Row]:
        return [Row(env) for env in self.first]

    def blind(self) -> list[tuple[int, int]]:
        """Return the spans with hidden machine states, oldest first, without overlaps."""
        united: list[tuple[int, int]] = []
        for each in self.troubles:
            if not each.fault.is_blinding:
                continue
            # After a stall, a row may beat one ping late, and a silent row expires later.
            until = each.until + (BEAT if each.fault is Fault.STALLED else 0)
            if united and each.since <= united[-1][1]:
                united[-1] = (united[-1][0], max(united[-1][1], until))
            else:
                united.append((each.since, until))
        return united

    def needs(self) -> list[Need]:
        """Return the times when a person is needed, by the definition in the documentation of alerts."""
        blind, rows = self.blind(), {str(env.id): env for env in self.first}
        return [
            Need(
                each.id,
                each.name,
                each.cause,
                each.since,
                each.until,
                deadline(blind, each.since),
                is_new=self._is_new(rows, each.id, each.since, blind),
            )
            for each in sorted(self.episodes)
            if each.cause.needs_person and each.until - each.since >= NEEDED_AFTER
        ]

    def _is_new(self, rows: Mapping[str, Environment], id_: str, at: int, blind: Iterable[tuple[int, int]]) -> bool:
        while id_ in self.predecessors:
            id_ = self.predecessors[id_]
        env = rows[id_]
        registered_at = int((env.first_seen_at or BEGIN) - BEGIN)
        if registered_at <= -CONNECTED_FOR and env.os not in SLEEPING:
            return False
        begin = max(registered_at, 0)
        return at - begin - covered(blind, begin, at) < NEW_FOR

    def causes(self, ids: Iterable[str], at: int) -> list[str]:
        """Return the causes of a message at a moment: of each named row, then of all rows."""
        causes = self.row_causes(ids, at)
        causes += [each.fault for each in self.troubles if each.since <= at <= each.until + NEEDED_AFTER]
        if any(set_at <= at <= set_at + NEEDED_AFTER for set_at, _ in self.skews[1:]):
            causes.append("the monitor's clock was set")
        return causes

    def row_causes(self, ids: Iterable[str], at: int) -> list[str]:
        """Return the cause of each named row's newest change before a message."""
        newest: dict[str, Episode] = {}
        wanted = set(ids)
        for each in self.episodes:
            if each.id in wanted and each.since <= at and (each.id not in newest or newest[each.id] < each):
                newest[each.id] = each
        causes = []
        for episode in newest.values():
            if at > episode.until + 3 * MINUTE and episode.cause not in _ENDING:
                causes.append("a row that is up")
                continue
            is_short = episode.cause.needs_person and episode.until - episode.since < NEEDED_AFTER
            causes.append(f"{episode.cause} {BRIEF}" if is_short else str(episode.cause))
        return causes


def covered(spans: Iterable[tuple[int, int]], since: int, until: int) -> int:
    """Return the milliseconds of a time that the spans cover."""
    return sum(max(min(end, until) - max(begin, since), 0) for begin, end in spans)


def deadline(blind: Iterable[tuple[int, int]], since: int) -> int:
    """Return the moment when a row has been visibly down for five minutes. Spans are sorted, oldest first."""
    at = since + NEEDED_AFTER
    for begin, end in blind:
        if begin < at and end > since:
            at += end - max(begin, since)
    return at


def _hex(*parts: object) -> str:
    return blake2s(repr(parts).encode(), digest_size=8).hexdigest()


_METADATA: Final = {
    os: {"lettaCodeVersion": "0.34.12", "os": os, "machine": {"architecture": "x64"}} for os in ("linux", *SLEEPING)
}
