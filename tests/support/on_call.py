"""A night of 30 minutes on call: 200 machines, a script of events, and the truth at every moment.

The truth knows only the rows of the API and three documented rules: a row is gone after two complete listings, data
older than 60 s is blind, and a heartbeat older than 120 s is lost.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support.builders import NOW, environment

from envwatch.model.outcome import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from envwatch.model.environment import Environment

END_S: Final = 1_800
"""A silence of 30 minutes from the start ends with the night."""
FRESH_S: Final = 900
BACK_S: Final = 60
_BLIND_S: Final = 60
_HEARTBEAT_LOST_S: Final = 120
_BEAT_AGE_S: Final = 10
_DOWN: Final[dict[str, Any]] = {"connectionId": None, "lastHeartbeat": None, "podId": None}

POD: Final = "p-7"
EDGES: Final = tuple(f"edge-{number}" for number in range(1, 13))

OLD: Final = tuple(f"old-{number}" for number in range(1, 13))
SANDBOXES: Final = ("sandbox-1", "sandbox-2")
RENAMED, NEW_NAME = "ana-mac", "ana-mini"

BEFORE: Final = {"nas-1": 1_200, "nas-2": 1_200, "plotter": 2_400}
"""Machines lost before the first listing, and the seconds since each loss."""

_ALONE: Final = ("lone-1", "lone-2", "lone-3", "blip", "dark", "drop", "slow")
_USUAL: Final = tuple(f"web-{number}" for number in range(1, 164))

INCIDENTS: Final = (EDGES, ("nas-1", "nas-2"), ("plotter",), *((name,) for name in _ALONE))
"""Machines lost together or alone: the possible lines of the block."""


@dataclass
class Machine:
    name: str
    row: dict[str, Any] = field(default_factory=dict)
    """Fields that differ from the default row."""
    lost_s: float | None = None
    beat_s: float | None = None
    """The last heartbeat of a connected machine; None while heartbeats continue."""
    is_listed: bool = True
    lacking: int = 0
    is_down: bool = False
    changed_s: float | None = None


class Incident(NamedTuple):
    names: tuple[str, ...]
    """All members, including machines that are back."""
    off: tuple[str, ...]
    """Members that are down and not silenced."""
    is_acked: bool
    lost_s: float
    """When a listing first showed the newest loss."""


@dataclass
class OnCall:
    """The present truth, and the content of the last believed listing."""

    now: float = 0.0
    seen_s: float | None = None
    failure: Cause | None = None
    acked: set[str] = field(default_factory=set)
    silenced: set[str] = field(default_factory=set)
    is_renamed: bool = False
    machines: dict[str, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own: dict[str, dict[str, Any]] = {name: {"podId": POD} for name in EDGES}
        own |= {name: {"deviceId": f"sandbox-of-{name}"} for name in SANDBOXES}
        own[RENAMED] = {"deviceId": "mac-of-ana", "listenerInstanceId": f"server-{'a' * 16}"}
        for number, name in enumerate((*_USUAL, *EDGES, *_ALONE, *BEFORE, *OLD, *SANDBOXES, RENAMED)):
            self._add(name, **({"podId": f"p-{number % 5}"} | own.get(name, {})))
        ages = BEFORE | dict.fromkeys(OLD, 90 * 3_600) | dict.fromkeys(SANDBOXES, 600)
        for name, age_s in ages.items():
            self.machines[name].lost_s = -age_s

    def _add(self, name: str, **row: Any) -> None:
        self.machines[name] = Machine(name, {"connectionName": name, **row})

    def lose(self, *names: str) -> None:
        for name in names:
            self.machines[name].lost_s = self.now - 1

    def restore(self, *names: str) -> None:
        for name in names:
            self.machines[name].lost_s = None
            self.machines[name].row |= {"connectionId": f"again-{name}", "connectedAt": NOW + self.now * 1000}

    def freeze(self, name: str) -> None:
        """Stop a machine's heartbeats; the connection stays open."""
        self.machines[name].beat_s = self.now - _BEAT_AGE_S

    def drop(self, name: str) -> None:
        self.machines[name].is_listed = False

    def rename(self) -> None:
        self.lose(RENAMED)
        own = {"listenerInstanceId": f"server-{'b' * 16}", "firstSeenAt": NOW + self.now * 1000}
        self._add(NEW_NAME, **(self.machines[RENAMED].row | own | {"connectionName": NEW_NAME}))
        self.is_renamed = True

    def fail(self, cause: Cause | None) -> None:
        self.failure = cause

    def rows(self) -> list[Environment]:
        return [self._row(machine) for machine in self.machines.values() if machine.is_listed]

    def _row(self, machine: Machine) -> Environment:
        beat_s = self.now - _BEAT_AGE_S if machine.beat_s is None else machine.beat_s
        seen_s = beat_s if machine.lost_s is None else machine.lost_s
        times = {"lastHeartbeat": NOW + beat_s * 1000, "lastSeenAt": NOW + seen_s * 1000}
        return environment(machine.name, **(times | machine.row | ({} if machine.lost_s is None else _DOWN)))

    def believe(self) -> None:
        """Take a listing's content; a return ends an acknowledgement."""
        is_first, self.seen_s = self.seen_s is None, self.now
        for machine in self.machines.values():
            machine.lacking = 0 if machine.is_listed else machine.lacking + 1
            is_lost = machine.beat_s is not None and self.now - machine.beat_s >= _HEARTBEAT_LOST_S
            is_down = machine.lost_s is not None or machine.lacking >= 2 or is_lost
            if is_down != machine.is_down:
                machine.is_down = is_down
                machine.changed_s = machine.lost_s if is_first else self.now
            if not is_down:
                self.acked.discard(machine.name)

    @property
    def is_blind(self) -> bool:
        return self.seen_s is None or self.now - self.seen_s > _BLIND_S

    def incidents(self) -> list[Incident]:
        """Return incidents with a member that is down and not silenced, newest loss first."""
        found = []
        for names in INCIDENTS:
            off = tuple(name for name in names if self.machines[name].is_down and name not in self.silenced)
            if off:
                lost_s = max(self.machines[name].changed_s or 0.0 for name in off)
                found.append(Incident(names, off, self.acked.issuperset(off), lost_s))
        return sorted(found, key=lambda incident: -incident.lost_s)

    @property
    def newest(self) -> Incident | None:
        return next((incident for incident in self.incidents() if not incident.is_acked), None)

    def resolved(self) -> list[tuple[str, ...]]:
        """Return the machines of resolved incidents whose last member came back up to a minute ago."""
        active = {incident.names for incident in self.incidents()}
        return [names for names in INCIDENTS if names not in active and any(map(self._is_just_back, names))]

    def _is_just_back(self, name: str) -> bool:
        machine = self.machines[name]
        return not machine.is_down and machine.changed_s is not None and self.now - machine.changed_s <= BACK_S

    def counts(self) -> Mapping[str, int]:
        """Return the number of rows by the words of the status line and the rule line; late rows are online."""
        if self.is_blind:
            return {"unknown": len(self.machines)}
        in_block = {name for incident in self.incidents() for name in incident.off}
        return Counter(self._word(machine, in_block) for machine in self.machines.values())

    def _word(self, machine: Machine, in_block: set[str]) -> str:
        if not machine.is_down:
            return "online"
        if machine.name in in_block:
            return "gone in block" if machine.lacking else "off"
        if machine.name == RENAMED:
            return "replaced"
        return "old" if machine.name in OLD else "silenced" if machine.name in self.silenced else "not alerting"


SCRIPT: Final[Mapping[int, Callable[[OnCall], None]]] = {
    60: lambda night: night.lose("lone-1"),
    240: lambda night: night.lose(*EDGES),
    400: lambda night: night.restore("lone-1"),
    520: lambda night: night.rename(),
    640: lambda night: night.restore(*EDGES[:6]),
    760: lambda night: night.fail(Cause.TIMEOUT),
    800: lambda night: night.lose("dark"),
    885: lambda night: night.fail(None),
    1_000: lambda night: night.lose("lone-2"),
    1_080: lambda night: night.lose("blip"),
    1_100: lambda night: night.restore("blip"),
    1_160: lambda night: night.fail(Cause.UNAUTHORIZED),
    1_250: lambda night: night.fail(None),
    1_320: lambda night: night.drop("drop"),
    1_380: lambda night: night.freeze("slow"),
    1_440: lambda night: night.restore(*EDGES[6:]),
    1_600: lambda night: night.lose("lone-3"),
}
"""Events by seconds since the first listing."""


def polls() -> Iterable[int]:
    """Return the seconds of the polls: every 5 s around an event, otherwise every 30 s."""
    around = {second + after for second in (0, 1_490, *SCRIPT) for after in (-5, 0, 5, 60, 65)}
    return sorted(second for second in around | {*range(0, END_S, 30)} if 0 <= second < END_S)
