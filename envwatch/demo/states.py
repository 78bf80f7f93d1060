"""A simulated environment: its state, the schedule of its states, and its row as JSON.

All instants are whole milliseconds since the epoch.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from envwatch.model.environment import API_FIELDS, METADATA_FIELDS, Environment, wire_name
from envwatch.model.listing_api import is_online

if TYPE_CHECKING:
    from envwatch.demo.machines import Machine

HEARTBEAT_MS = 30_000
FOREVER = 1 << 62
_TIMES = ',"{}":%b,"{}":%b}}'.format(wire_name("last_heartbeat_at"), wire_name("last_seen_at")).encode()
"""The end of a row: the two times that change with every heartbeat."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedState:
    """An environment's state from `since` to the next state."""

    since: int
    seen_at: int
    """The last sign of life; ignored while heartbeats come."""
    version: str
    mode: str | None = None
    branch: str | None = None
    directory: str | None = None
    connection_id: str | None = None
    connected_at: int | None = None
    pod_id: str | None = None
    beat_at: int | None = None
    """The first heartbeat if `is_beating`, else the last heartbeat."""
    is_beating: bool = False
    is_listed: bool = True

    def last_beat(self, now: int) -> int | None:
        """Return the newest heartbeat at a moment of this state."""
        if self.beat_at is None or not self.is_beating:
            return self.beat_at
        return self.beat_at + max(0, (now - self.beat_at) // HEARTBEAT_MS) * HEARTBEAT_MS

    def connected(self, at: int, connection_id: str, pod_id: str) -> SimulatedState:
        """Return the state after a new connection with heartbeats."""
        link = replace(self, connection_id=connection_id, connected_at=at, pod_id=pod_id)
        return link.awake(at)

    def disconnected(self, at: int, *, keeps_beat: bool = False) -> SimulatedState:
        """Return the state after the socket closes; some rows keep their last heartbeat."""
        beat_at = self.last_beat(at) if keeps_beat else None
        link = self if keeps_beat else replace(self, connected_at=None, pod_id=None)
        return replace(link, since=at, connection_id=None, beat_at=beat_at, is_beating=False, seen_at=at)

    def silent(self, at: int) -> SimulatedState:
        """Return the state without further heartbeats: asleep, or cut off."""
        beat_at = self.last_beat(at)
        return replace(self, since=at, beat_at=beat_at, is_beating=False, seen_at=at if beat_at is None else beat_at)

    def awake(self, at: int) -> SimulatedState:
        """Return the state with heartbeats on the same connection."""
        return replace(self, since=at, beat_at=at, is_beating=True)


class SimulatedEnvironment:
    """A machine with its schedule of states, which never changes before its end."""

    def __init__(self, machine: Machine, index: int, *states: SimulatedState) -> None:
        self.machine = machine
        self.index = index
        self._states = [*states]
        self.busy_until = self.last.since
        """No state may be added before this moment."""
        self._head = b""
        self._head_of: SimulatedState | None = None

    @property
    def last(self) -> SimulatedState:
        """The last scheduled state."""
        return self._states[-1]

    def add(self, *states: SimulatedState) -> None:
        """Append states to the schedule."""
        self._states.extend(states)
        self.busy_until = max(self.busy_until, self.last.since)

    def state(self, now: int) -> SimulatedState | None:
        """Return the state at a moment, None while unlisted."""
        place = bisect_right(self._states, now, key=attrgetter("since"))
        state = self._states[place - 1] if place else None
        return state if state is not None and state.is_listed else None

    def is_online(self, now: int) -> bool:
        """Return the official rule's answer."""
        state = self.state(now)
        return state is not None and is_online(state.connection_id, state.last_beat(now), now)

    def row(self, now: int) -> bytes | None:
        """Return the row as JSON, None while unlisted."""
        state = self.state(now)
        if state is None:
            return None
        if state is not self._head_of:
            self._head, self._head_of = self._encoded_head(state), state
        beat_at = state.last_beat(now)
        seen_at = beat_at if state.is_beating and beat_at is not None else state.seen_at
        return self._head + _TIMES % (_encoded(self._time(beat_at)), _encoded(self._time(seen_at)))

    def _encoded_head(self, state: SimulatedState) -> bytes:
        row: dict[str, object] = {
            **self.machine.identity,
            "connection_id": state.connection_id,
            "connected_at": self._time(state.connected_at),
            "pod_id": state.pod_id,
            "first_seen_at": self._time(self._states[0].since),
        }
        if state.mode is not None or self.index % 2:  # the API omits an unset mode, or sends null
            row["mode"] = state.mode
        if self.machine.metadata is not None:
            row["metadata"] = {
                Environment.version.key: state.version,
                Environment.node_version.key: self.machine.node,
                **({} if state.branch is None else {Environment.branch.key: state.branch}),
                **({} if state.directory is None else {Environment.working_directory.key: state.directory}),
                **self.machine.metadata,
                **{each.key: each.example(self.index) for each in METADATA_FIELDS.values() if each.examples},
            }
        row |= {each.name: each.example(self.index) for each in API_FIELDS.values() if each.examples}
        return _encode({wire_name(name): value for name, value in row.items()}).encode()[:-1]

    def _time(self, at: int | None) -> float | None:
        return at if at is None or self.machine.fraction is None else at - self.machine.fraction


def _encoded(time: float | None) -> bytes:
    return b"null" if time is None else repr(time).encode()
