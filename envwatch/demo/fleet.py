"""The demo fleet: a pure function of size, start and time. Instants are in ms since the epoch."""

from __future__ import annotations

import json
from functools import reduce
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.demo.machines import LEAST_WITH_ARRIVALS, SIZE, machine_at, uuid_of
from envwatch.demo.story import DAY, HOUR, LIFE, LIFE_EVERY, LIFE_FROM, NIGHT, OPENING, Change, What
from envwatch.model.environment import API_FIELDS, METADATA_FIELDS, Environment, wire_name
from envwatch.model.listing_api import is_online, page_of_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HEARTBEAT_MS: Final = 30_000
_TIMES: Final = ',"{}":%b,"{}":%d}}'.format(wire_name("last_heartbeat_at"), wire_name("last_seen_at")).encode()
"""End of a row's JSON, which changes with every heartbeat."""
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class State(NamedTuple):
    """A row's values between two changes."""

    seen_at: int
    """The last sign of life; ignored while heartbeats come."""
    pod: str
    mode: str | None
    branch: str | None
    version: str
    connected_at: int | None = None
    connection: str | None = None
    beats_from: int | None = None
    beats_until: int | None = None
    """None while heartbeats come."""
    is_listed: bool = True

    def last_beat(self, now: int) -> int | None:
        """Return the newest heartbeat at a moment of this state."""
        if self.beats_from is None:
            return None
        until = now if self.beats_until is None else self.beats_until
        return self.beats_from + max(0, until - self.beats_from) // HEARTBEAT_MS * HEARTBEAT_MS


class DemoRow:
    """A machine's row at any moment."""

    def __init__(self, index: int, size: int, started_at: int) -> None:
        self.machine = machine_at(index, size)
        self.index, self._started_at = index, started_at
        blueprint, number, pod = self.machine.blueprint, self.machine.number, f"p-{index % max(1, size // 13) + 5}"
        age = 2 * HOUR + 300 * DAY * (1 - index / size) ** 2
        connected_for = min(DAY + number % (8 * 86_400_000) / 1_000, age)
        self._again = self._own(LIFE, {blueprint.name})
        if index >= size:  # an arrival
            pod, self._once, self._again = "p-5", self._own(OPENING, {blueprint.name}), []
            age = connected_for = -self._once[0].at
        elif blueprint.role == "away":
            self._once = [Change(-min(26 * HOUR + number % (9 * 86_400), age / 3), What.LOST, "")]
        elif index < SIZE:
            role = blueprint.role
            self._once = self._own(NIGHT + OPENING, {blueprint.name, pod, role, f"{role} {blueprint.version}"})
        else:
            self._once = self._own(OPENING, {pod})
        self._life_from = LIFE_FROM + (index // SIZE) * 41.0 % HOUR
        self._life_every = LIFE_EVERY if index < SIZE else HOUR
        self.first_seen_at = self._ms(-age)
        unconnected = State(self.first_seen_at, pod, blueprint.mode, blueprint.branch, blueprint.version)
        self._first = self._after(unconnected, Change(-connected_for, What.BACK, ""))
        self._changes: Sequence[Change] = ()
        self._state = self._first
        self._head = b""

    def _own(self, changes: Sequence[Change], groups: set[str]) -> list[Change]:
        delay = self.machine.number % 997 / 997
        found = [each._replace(at=each.at + delay * each.spread) for each in changes if each.rows in groups]
        return sorted(found, key=attrgetter("at"))

    def _ms(self, seconds: float) -> int:
        return self._started_at + round(seconds * 1_000)

    def _after(self, state: State, change: Change) -> State:
        at, link = self._ms(change.at), f"conn-{uuid_of(self.index, change.at)}"
        values: dict[What, dict[str, Any]] = {
            What.LOST: {"connection": None, "connected_at": None, "beats_from": None, "seen_at": at},
            What.BACK: {"connection": link, "connected_at": at, "beats_from": at, "beats_until": None},
            What.SILENT: {"beats_until": at, "seen_at": state.last_beat(at)},
            What.BEATS: {"beats_from": at, "beats_until": None},
            What.GONE: {"is_listed": False},
        }
        return state._replace(**values.get(change.what, {change.what.name.lower(): change.value}))

    def _happened(self, elapsed: float) -> Sequence[Change]:
        found = [each for each in self._once if each.at <= elapsed]
        since = elapsed - self._life_from
        this_round = since // self._life_every * self._life_every
        for begin in (this_round - self._life_every, this_round):
            if begin >= 0:
                again = [each for each in self._again if begin + each.at <= since]
                found += [each._replace(at=self._life_from + begin + each.at) for each in again]
        return found

    def state(self, now: int) -> State | None:
        """Return the state at a moment, None while unlisted."""
        changes = self._happened((now - self._started_at) / 1_000)
        if changes != self._changes:
            self._changes, self._head = changes, b""
            self._state = reduce(self._after, changes, self._first)
        return self._state if self._state.is_listed and now >= self.first_seen_at else None

    def is_online(self, now: int) -> bool:
        """Whether the row is online by the API's rule."""
        state = self.state(now)
        return state is not None and is_online(state.connection, state.last_beat(now), now)

    def json(self, now: int) -> bytes | None:
        """Return the row as JSON, None while unlisted."""
        state = self.state(now)
        if state is None:
            return None
        self._head = self._head or self._encoded_head(state)
        beat_at = state.last_beat(now)
        seen_at = beat_at if state.beats_until is None and beat_at is not None else state.seen_at
        return self._head + _TIMES % (b"null" if beat_at is None else b"%d" % beat_at, seen_at)

    def _encoded_head(self, state: State) -> bytes:
        row: dict[str, object] = {
            **self.machine.identity,
            "connection_id": state.connection,
            "connected_at": state.connected_at,
            "pod_id": state.pod if state.connection else None,
            "first_seen_at": self.first_seen_at,
        }
        if state.mode is not None or self.index % 2:  # the API omits an unset mode, or sends null
            row["mode"] = state.mode
        if self.machine.metadata is not None:
            has_run = {Environment.branch.key: state.branch, Environment.working_directory.key: self.machine.directory}
            row["metadata"] = {
                Environment.version.key: state.version,
                **(has_run if state.branch is not None else {}),
                **self.machine.metadata,
                **{each.key: each.example(self.index) for each in METADATA_FIELDS.values() if each.examples},
            }
        row |= {each.name: each.example(self.index) for each in API_FIELDS.values() if each.examples}
        return _encode({wire_name(name): value for name, value in row.items()}).encode()[:-1]


class DemoFleet:
    """All rows, made on demand: 100,000 rows cost nothing at the start."""

    def __init__(self, size: int, started_at: int) -> None:
        self.started_at = started_at
        self._size = size
        self._rows: list[DemoRow | None] = [None] * (size + (2 if size >= LEAST_WITH_ARRIVALS else 0))
        self._index_of: dict[str, int] = {}

    def row_at(self, index: int) -> DemoRow:
        """Return a row by place; 0 is the oldest."""
        row = self._rows[index]
        if row is None:
            row = self._rows[index] = DemoRow(index, self._size, self.started_at)
            self._index_of[row.machine.identity["id"]] = index
        return row

    def _newest_first(self, after: str | None = None) -> Iterator[DemoRow]:
        if after is not None and after not in self._index_of:
            for _ in self._newest_first():
                pass  # the cursor is no page's last row
        start = len(self._rows) if after is None else self._index_of.get(after, len(self._rows))
        return map(self.row_at, range(start - 1, -1, -1))

    def page(
        self,
        now: int,
        *,
        limit: int | None = None,
        after: str | None = None,
        is_wanted: Callable[[DemoRow], bool] = lambda _: True,
    ) -> tuple[list[bytes], bool]:
        """Return a page's rows as JSON, and whether more rows follow.

        Rows stand in the constant order of first appearance, newest first. `after` is the previous page's last `id`,
        even of an unlisted row; an unknown `id` starts from the top.
        """
        wanted = (row for row in self._newest_first(after) if is_wanted(row))
        return page_of_rows((found for row in wanted if (found := row.json(now)) is not None), limit)

    def row(self, device_id: str, now: int) -> bytes | None:
        """Return a device's newest row as JSON, None for an unknown device."""
        of_device = (row for row in self._newest_first() if row.machine.identity["device_id"] == device_id)
        return next((found for row in of_device if (found := row.json(now)) is not None), None)

    def rows(self, now: int) -> list[dict[str, Any]]:
        """Return the whole listing as decoded JSON."""
        return [json.loads(row) for row in self.page(now)[0]]
