"""Single tracked environments, for tests of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.builders import NOW, environment, wire_row

from envwatch.fleet.presence import PresenceRule
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model.limits import Limits
from envwatch.query.field_types import MatchContext
from envwatch.views.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.query.language import Query, Searchable

JUDGE = PresenceRule(Limits())
ALL = tuple(COLUMNS.values())


def tracked(*, metadata: dict[str, Any] | None = None, **changes: Any) -> TrackedEnvironment:
    """A tracked environment; `metadata` is merged over that of a healthy row, None removes a key."""
    merged = wire_row()["metadata"] | (metadata or {})
    row = environment(**{"metadata": {key: value for key, value in merged.items() if value is not None}} | changes)
    return TrackedEnvironment(environment=row, verdict=JUDGE.verdict(row, NOW))


def matches(
    query: Query, one: TrackedEnvironment, now: float = NOW, columns: Sequence[Searchable] = ALL, listings: int = 1
) -> bool:
    """Whether a query matches one environment."""
    return query.test(MatchContext(now, listings), columns)(one)


BARE = tracked(
    metadata=dict.fromkeys(wire_row()["metadata"]),
    connectionId=None,
    connectedAt=None,
    lastHeartbeat=None,
    podId=None,
    currentMode=None,
    listenerInstanceId=None,
)
"""A row that has nothing but what every row has."""
