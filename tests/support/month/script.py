"""What happens to some machines, written down in advance, and when a person is needed: for benches and tests of alerts.

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
    from collections.abc import Callable, Iterable, Sequence


SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

BEGIN: Final = 1_793_577_600_000
"""Monday, 2026-11-02, 00:00 UTC: the server's clock when a script begins."""
BEAT: Final = 30 * SECOND
"""From ping to ping."""
EXPIRY: Final = 120 * SECOND
"""Age from which the official rule calls a heartbeat lost."""
NEEDED_AFTER: Final = 5 * MINUTE
"""A person is needed for what is down or flaps for so long, and is to be told within as long."""
_MISSED: Final = 4
"""Of 1,024 pings, so many are missed, never two in a row."""


class Cause(StrEnum):
    """Why a row is down or flaps."""

    CRASH = "crash"
    CUT = "power cut"
    CASCADE = "cascade"
    FLAPPING = "flapping"
    FAILED_UPGRADE = "failed upgrade"
    UPGRADE = "planned upgrade"
    RENAME = "rename"
    SANDBOX_END = "end of a sandbox"
    JOB_END = "end of a CI job"
    SLEEP = "sleep of a laptop"
    POD = "restart of the platform's pod"

    @property
    def needs_person(self) -> bool:
        """Whether a person is needed if this lasts."""
        return self in _NEEDING


BRIEF: Final = "under 5 minutes"
"""Ends the cause of a message about a machine that was down or flapped, but not for long enough to need a person."""

_ENDING: Final = frozenset({Cause.SANDBOX_END, Cause.JOB_END, Cause.RENAME})
"""After such a cause, a row may never be up again."""
_NEEDING: Final = frozenset({Cause.CRASH, Cause.CUT, Cause.CASCADE, Cause.FLAPPING, Cause.FAILED_UPGRADE})


class Fault(StrEnum):
    """What is wrong with the platform's answers, or with who asks."""

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
        """Whether nobody can see what happens to a machine meanwhile."""
        return self not in (Fault.WRONG_DATE, Fault.ROUNDED, Fault.SHIFTED)


class Trouble(NamedTuple):
    """A time in which something is wrong for all rows."""

    since: int
    until: int
    fault: Fault
    share: float = 1.0
    """Of the rows, how many are affected."""
    error: int = 0
    """How far the server's `Date` is ahead, ms."""


class Episode(NamedTuple):
    """A time in which a row is down, or flaps."""

    since: int
    until: int
    cause: Cause
    id: str
    name: str


class Change(Enum):
    """What a row shows."""

    UP = auto()
    """A new connection, and a ping at once."""
    DOWN = auto()
    """The connection is closed."""
    SILENT = auto()
    """The pings end, and the connection stays."""
    AWAKE = auto()
    """The pings go on, over the same connection."""
    REMOVED = auto()
    """The row has left the list."""


class Row:
    """A row as the platform has it at present; it only moves forward in time."""

    def __init__(self, env: Environment) -> None:
        self.environment = env
        self.beats_at: float = float("inf")
        """When the next ping is shown; never while there are none."""
        self.began_at = 0
        """The first ping of the present series."""
        digest = blake2s(env.id.encode(), digest_size=4).digest()
        self.salt = int.from_bytes(digest, "big")
        self._pod = env.pod_id
        self._connections = 0
        self._beating: Callable[..., Environment] = Environment

    @property
    def id(self) -> str:
        """The row's key."""
        return self.environment.id

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.environment.name

    def last_beat(self, at: int) -> int:
        """Return when the newest ping up to a moment came: each 30 s, but sometimes one is missed."""
        number = (at - self.began_at) // BEAT
        if number & 1 and (number * 2_654_435_761 + self.salt) >> 7 & 1_023 < _MISSED:
            number -= 1
        return self.began_at + number * BEAT

    def beat(self, at: int) -> None:
        """Show the newest ping."""
        self.beats_at = self.began_at + ((at - self.began_at) // BEAT + 1) * BEAT
        beat_at = ServerMs(float(BEGIN + self.last_beat(at)))
        if beat_at != self.environment.last_heartbeat_at:
            self.environment = self._beating(last_heartbeat_at=beat_at, last_seen_at=beat_at)

    def change(self, what: Change, at: int) -> None:
        """Show a change."""
        match what:
            case Change.UP:
                self._connections += 1
                self.environment = replace(
                    self.environment,
                    connection_id=clean(f"conn-{self.id}-{self._connections}"),
                    connected_at=ServerMs(BEGIN + at),
                    pod_id=self._pod,
                )
                # Much faster than `replace`: pings are nearly everything that a month brings.
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
                    last_seen_at=ServerMs(BEGIN + at),
                    pod_id=None,
                )


_KEPT: Final = tuple(
    each.name for each in fields(Environment) if each.name not in ("last_heartbeat_at", "last_seen_at")
)
"""What a ping does not change."""


class Action(NamedTuple):
    """One change of one row."""

    at: int
    number: int
    """The order of what happens at one moment."""
    row: int
    """The row's place in the script."""
    what: Change
    is_notable: bool
    """Whether an alert may follow: then watchers look closely for a while."""


class Need(NamedTuple):
    """A person is needed for a row."""

    id: str
    name: str
    cause: Cause
    since: int
    until: int
    deadline: int
    """Until when a message must name the row."""

    @property
    def is_visible(self) -> bool:
        """Whether somebody could see for five minutes that the row is down: else no message can be demanded."""
        return self.deadline <= self.until


@dataclass
class Script:
    """Everything that happens, in the server's time."""

    length: int
    """How long the script is, ms."""
    first: list[Environment] = field(default_factory=list)
    """Each row that there ever is, as the row registers."""
    actions: list[Action] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    skews: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    """How far the monitor's wall clock is ahead of the server's from a moment on, ms."""

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
        """Add a row that comes up at a moment, and return its place."""
        number = len(self.first)
        id_ = f"env-{number}-{_hex(name, number)[:6]}"
        self.first.append(
            environment(
                id_,
                connectionName=name,
                deviceId=device or f"device-{_hex(name, number)}",
                listenerInstanceId=instance or f"server-{_hex(name)}",
                firstSeenAt=BEGIN + up_at,
                lastSeenAt=BEGIN + up_at,
                podId=pod,
                metadata=_METADATA[os],
            )
        )
        self.do(number, up_at, Change.UP, is_notable=is_notable)
        return number

    def do(self, row: int, at: int, what: Change, *, is_notable: bool = True) -> None:
        """Let a row change at a moment."""
        insort(self.actions, Action(at, len(self.actions), row, what, is_notable))

    def down(self, row: int, since: int, until: int, cause: Cause, *, is_silent: bool = False) -> None:
        """Let a row be down, with a closed connection or with pings that end, until the row has a new connection."""
        self.do(row, since, Change.SILENT if is_silent else Change.DOWN)
        if until < self.length:
            self.do(row, until, Change.UP)
        self.note(row, since, until, cause)

    def sleep(self, row: int, since: int, until: int) -> None:
        """Let a laptop sleep, and wake with the connection that the laptop had."""
        self.do(row, since, Change.SILENT, is_notable=False)
        if until < self.length:
            self.do(row, until, Change.AWAKE, is_notable=False)
        self.note(row, since, until, Cause.SLEEP)

    def cut(self, rows: Sequence[int], at: int, backs: Sequence[int]) -> None:
        """Cut the power of some rows at one moment; each is back at a moment of its own."""
        for row, back in zip(rows, backs, strict=True):
            self.down(row, at, back, Cause.CUT, is_silent=True)

    def flap(self, row: int, since: int, until: int, seconds: Callable[[], int]) -> None:
        """Let the link of a row be lost and back again; `seconds` gives how long it is lost or back each time."""
        at, is_up = since, True
        while at < until:
            self.do(row, at, Change.DOWN if is_up else Change.UP)
            is_up = not is_up
            at += seconds() * SECOND
        if not is_up:
            self.do(row, until, Change.UP)
        self.note(row, since, until, Cause.FLAPPING)

    def rename(self, row: int, at: int, gap: int, name: str, *, drops_after: int | None = None) -> int:
        """Rename a machine: another row is up after a gap, on the same device; return that row's place."""
        before = self.first[row]
        self.do(row, at, Change.DOWN)
        self.note(row, at, self.length if drops_after is None else at + drops_after, Cause.RENAME)
        if drops_after is not None:
            self.do(row, at + drops_after, Change.REMOVED)
        return self.row(name, at + gap, device=before.device_id, pod=str(before.pod_id))

    def set_up_anew(self, row: int, since: int, until: int, name: str, *, is_silent: bool = False) -> int:
        """Let a machine crash for good, and come up as another row, on the same device; return that row's place."""
        before = self.first[row]
        self.do(row, since, Change.SILENT if is_silent else Change.DOWN)
        self.note(row, since, until, Cause.CRASH)
        self.note(row, until, self.length, Cause.RENAME)
        return self.row(name, until, device=before.device_id, pod=str(before.pod_id))

    def rename_back(self, row: int, new: int, at: int, gap: int) -> None:
        """Give a machine the name again that it had: its old row is up again after a gap."""
        self.do(new, at, Change.DOWN)
        self.note(new, at, self.length, Cause.RENAME)
        self.do(row, at + gap, Change.UP)

    def end(self, row: int, at: int, cause: Cause, removed_at: int | None = None) -> None:
        """End a sandbox or a job for good."""
        self.do(row, at, Change.DOWN, is_notable=False)
        if removed_at is not None:
            self.do(row, removed_at, Change.REMOVED, is_notable=False)
        self.note(row, at, removed_at or self.length, cause)

    def note(self, row: int, since: int, until: int, cause: Cause) -> None:
        """Note why a row is down or flaps."""
        env = self.first[row]
        self.episodes.append(Episode(since, min(until, self.length), cause, env.id, env.name))

    def trouble(self, since: int, until: int, fault: Fault, *, share: float = 1.0, error: int = 0) -> None:
        """Let something be wrong for all rows."""
        insort(self.troubles, Trouble(since, until, fault, share, error))

    def rows(self) -> list[Row]:
        """Return the rows before anything has happened."""
        return [Row(env) for env in self.first]

    def blind(self) -> list[tuple[int, int]]:
        """Return the times in which nobody can see what happens to a machine, oldest first, without overlaps."""
        united: list[tuple[int, int]] = []
        for each in self.troubles:
            if not each.fault.is_blinding:
                continue
            # A row may beat as late as one ping after a stall, and one that is silent since then expires later.
            until = each.until + (BEAT if each.fault is Fault.STALLED else 0)
            if united and each.since <= united[-1][1]:
                united[-1] = (united[-1][0], max(united[-1][1], until))
            else:
                united.append((each.since, until))
        return united

    def needs(self) -> list[Need]:
        """Return when a person is needed, by the definition in the documentation of alerts."""
        blind = self.blind()
        return [
            Need(each.id, each.name, each.cause, each.since, each.until, deadline(blind, each.since))
            for each in sorted(self.episodes)
            if each.cause.needs_person and each.until - each.since >= NEEDED_AFTER
        ]

    def causes(self, ids: Iterable[str], at: int) -> list[str]:
        """Return what explains a message about some rows at a moment: for each row, then for all of them."""
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
        causes += [each.fault for each in self.troubles if each.since <= at <= each.until + NEEDED_AFTER]
        if any(set_at <= at <= set_at + NEEDED_AFTER for set_at, _ in self.skews[1:]):
            causes.append("the monitor's clock was set")
        return causes


def covered(spans: Iterable[tuple[int, int]], since: int, until: int) -> int:
    """Return how much of a time some spans cover."""
    return sum(max(min(end, until) - max(begin, since), 0) for begin, end in spans)


def deadline(blind: Iterable[tuple[int, int]], since: int) -> int:
    """Return when five minutes have passed in which somebody could see, oldest spans first."""
    at = since + NEEDED_AFTER
    for begin, end in blind:
        if begin < at and end > since:
            at += end - max(begin, since)
    return at


def _hex(*parts: object) -> str:
    return blake2s(repr(parts).encode(), digest_size=8).hexdigest()


_METADATA: Final = {
    os: {"lettaCodeVersion": "0.34.12", "os": os, "machine": {"architecture": "x64"}}
    for os in ("linux", "darwin", "win32")
}
