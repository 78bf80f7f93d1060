"""Single tracked environments, for tests of one row."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from support.builders import NOW, environment, listed, reading, wire_row

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.presence import GONE, PresenceRule
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.history.hours import LastDays
from envwatch.model.limits import Limits
from envwatch.query.presentation import MatchContext, contexts_of
from envwatch.views.table.columns import COLUMNS, column_of, searched_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from envwatch.model.text import SafeText
    from envwatch.query.language import Query
    from envwatch.query.presentation import Presentation, RowContext

JUDGE = PresenceRule(Limits())
ALL = tuple(COLUMNS.values())


def tracked(*, metadata: dict[str, Any] | None = None, **changes: Any) -> TrackedEnvironment:
    """Return a tracked environment; `metadata` is merged into a healthy row's metadata, None removes a key."""
    merged = wire_row()["metadata"] | (metadata or {})
    row = environment(**{"metadata": {key: value for key, value in merged.items() if value is not None}} | changes)
    return TrackedEnvironment(environment=row, verdict=JUDGE.verdict(row, NOW))


def matches(query: Query, one: TrackedEnvironment, now: float = NOW, columns: Sequence[Presentation] = ALL) -> bool:
    return query.test(MatchContext(now), searched_in(columns))(one)


BARE = tracked(
    metadata=dict.fromkeys(wire_row()["metadata"]),
    connectionId=None,
    connectedAt=None,
    lastHeartbeat=None,
    podId=None,
    currentMode=None,
    listenerInstanceId=None,
)
"""A row with mandatory fields only."""


def named(name: str, **changes: Any) -> TrackedEnvironment:
    return tracked(id=f"env-{name}", connectionName=name, **changes)


def online(name: str) -> TrackedEnvironment:
    return named(name)


def late(name: str, seconds: float = 60) -> TrackedEnvironment:
    return named(name, lastHeartbeat=NOW - seconds * 1000)


def offline(name: str, since: float = 300) -> TrackedEnvironment:
    return named(name, connectionId=None, lastHeartbeat=NOW - since * 1000, lastSeenAt=NOW - since * 1000)


def gone(name: str) -> TrackedEnvironment:
    return replace(offline(name), verdict=GONE, since_at=NOW)


def fleet_of(environments: Iterable[TrackedEnvironment], listings: int = 9, skew: float = 0.0) -> Fleet:
    profile_state, _ = ProfileState().apply(listed([], skew=skew))
    by_id = MappingProxyType({tracked.environment.id: tracked for tracked in environments})
    return Fleet({NO_PROFILE: replace(profile_state, environments=by_id, listings=listings)})


def contexts_at(
    watched: Fleet | Monitor, at: float = NOW, days: LastDays | None = None
) -> Mapping[SafeText, RowContext]:
    """Return the contexts of a fleet's rows when this machine's clock shows `at`."""
    monitor, now = watched if isinstance(watched, Monitor) else Monitor(watched), reading(at)
    return contexts_of(monitor, now, days or LastDays(monitor, now))


def context_in(profile_state: ProfileState, at: float = NOW) -> RowContext:
    return contexts_at(Fleet({NO_PROFILE: profile_state}), at)[NO_PROFILE]


def context_of(one: TrackedEnvironment, at: float = NOW, limits: Limits | None = None) -> RowContext:
    """Return the context of a row of a fleet without other rows."""
    context = contexts_at(fleet_of([one]), at)[NO_PROFILE]
    return context._replace(profile_state=replace(context.profile_state, limits=limits or Limits()))


def cell_of(id_: str, one: TrackedEnvironment, at: float = NOW, limits: Limits | None = None) -> SafeText | None:
    """Return the text of a row in a column."""
    return column_of(id_).cell_text(one, context_of(one, at, limits))
