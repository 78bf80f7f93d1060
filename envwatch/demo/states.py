"""What one environment is at a moment: its state, the script of its states, and its row on the wire.

Knows the shape of a row and the official liveness rule; not why a state follows another (`life.py`) nor which
other environments there are (`fleet.py`). All instants are whole milliseconds since the epoch.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envwatch.demo.machines import Machine

BEAT_MS = 30_000
"""A listener pings this often."""
ONLINE_MS = 120_000
"""A heartbeat of this age or older means offline: the rule of the official client."""
_FOREVER = 1 << 62
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class State:
    """An environment from `since` until its next state."""

    since: int
    connection_id: str | None
    connected_at: int | None
    pod_id: str | None
    beat_at: int | None
    """The first beat of a beating link; otherwise the last one that there will be."""
    is_beating: bool
    seen_at: int
    """When the platform saw it last, for a link that does not beat."""
    mode: str | None
    version: str
    branch: str | None
    directory: str | None
    is_listed: bool = True

    def last_beat(self, now: int) -> int | None:
        """The newest heartbeat at a moment of this state."""
        if self.beat_at is None or not self.is_beating:
            return self.beat_at
        return self.beat_at + max(0, (now - self.beat_at) // BEAT_MS) * BEAT_MS

    def linked(self, at: int, connection_id: str, pod_id: str) -> State:
        """A new link, which beats from now on."""
        return replace(
            self,
            since=at,
            connection_id=connection_id,
            connected_at=at,
            pod_id=pod_id,
            beat_at=at,
            is_beating=True,
        )

    def unlinked(self, at: int, *, keeps_beat: bool = False) -> State:
        """The socket was closed; some rows keep their last beat."""
        beat_at = self.last_beat(at) if keeps_beat else None
        link = self if keeps_beat else replace(self, connected_at=None, pod_id=None)
        return replace(link, since=at, connection_id=None, beat_at=beat_at, is_beating=False, seen_at=at)

    def silent(self, at: int) -> State:
        """The beats stop and no other field changes: asleep, or cut off."""
        beat_at = self.last_beat(at)
        return replace(self, since=at, beat_at=beat_at, is_beating=False, seen_at=at if beat_at is None else beat_at)

    def awake(self, at: int) -> State:
        """The beats go on, on the same link."""
        return replace(self, since=at, beat_at=at, is_beating=True)


class Environment:
    """One machine, with all that ever happens to it, and its row at any moment.

    The script only grows at its end, so a moment once told is never told otherwise.
    """

    def __init__(self, machine: Machine, first: State, index: int) -> None:
        self.machine = machine
        self.index = index
        self.busy_until = first.since
        """Until then its script is written; nobody else may add to it."""
        self._states = [first]
        self._head = b""
        self._head_of: State | None = None
        self._row = b""
        self._row_from = self._row_until = 0

    @property
    def last(self) -> State:
        """The end of its script as far as that is written."""
        return self._states[-1]

    def add(self, *states: State) -> None:
        """Write the script on."""
        self._states.extend(states)
        self.busy_until = max(self.busy_until, self.last.since)
        self._row_until = 0

    def state(self, now: int) -> State | None:
        """Its state at a moment, `None` while it is not in the listing."""
        place = bisect_right(self._states, now, key=attrgetter("since"))
        state = self._states[place - 1] if place else None
        return state if state is not None and state.is_listed else None

    def is_online(self, now: int) -> bool:
        """The official rule: a connection, and a heartbeat younger than 120,000 ms."""
        state = self.state(now)
        beat_at = state.last_beat(now) if state is not None and state.connection_id else None
        return beat_at is not None and now - beat_at < ONLINE_MS

    def row(self, now: int) -> bytes | None:
        """Its row as JSON, `None` while it is not in the listing."""
        if self._row_from <= now < self._row_until:
            return self._row
        state = self.state(now)
        if state is None:
            return None
        if state is not self._head_of:
            self._head, self._head_of = self._encoded_head(state), state
        beat_at = state.last_beat(now)
        seen_at = beat_at if state.is_beating and beat_at is not None else state.seen_at
        times = b',"lastHeartbeat":%b,"lastSeenAt":%b}' % (self._json_time(beat_at), self._json_time(seen_at))
        self._row = self._head + times
        self._row_from, self._row_until = self._validity(state, beat_at, now)
        return self._row

    def _validity(self, state: State, beat_at: int | None, now: int) -> tuple[int, int]:
        place = bisect_right(self._states, now, key=attrgetter("since"))
        until = self._states[place].since if place < len(self._states) else _FOREVER
        if not state.is_beating or beat_at is None:
            return state.since, until
        return max(state.since, beat_at), min(until, beat_at + BEAT_MS)

    def _encoded_head(self, state: State) -> bytes:
        """The row without its closing brace and without the two times that change at every beat."""
        row: dict[str, object] = {
            **self.machine.identity,
            "connectionId": state.connection_id,
            "connectedAt": self._time(state.connected_at),
            "podId": state.pod_id,
            "firstSeenAt": self._time(self._states[0].since),
        }
        if state.mode is not None or self.index % 2:  # absent and null both stand for "not sent yet"
            row["currentMode"] = state.mode
        if self.machine.metadata is not None:
            known = {"gitBranch": state.branch, "workingDirectory": state.directory}
            row["metadata"] = {
                "lettaCodeVersion": state.version,
                "nodeVersion": self.machine.node,
                **{key: value for key, value in known.items() if value is not None},
                **self.machine.metadata,
            }
        return _encode(row).encode()[:-1]

    def _time(self, at: int | None) -> float | None:
        return at if at is None or self.machine.fraction is None else at - self.machine.fraction

    def _json_time(self, at: int | None) -> bytes:
        return b"null" if at is None else repr(self._time(at)).encode()
