"""Watches over single rows, for tests that ask what holds for one."""

from __future__ import annotations

from typing import Any

from builders import NOW, environment, wire_row

from envwatch.columns import COLUMNS
from envwatch.presence import Judge
from envwatch.rules import Rules
from envwatch.watch import Watch

JUDGE = Judge(Rules())
ALL = tuple(COLUMNS.values())


def watch(*, metadata: dict[str, Any] | None = None, **changes: Any) -> Watch:
    """A watch over one row; `metadata` is put over that of a healthy row, None takes a key away."""
    known = wire_row()["metadata"] | (metadata or {})
    row = environment(**{"metadata": {key: value for key, value in known.items() if value is not None}} | changes)
    return Watch(environment=row, verdict=JUDGE.verdict(row, NOW))


BARE = watch(
    metadata=dict.fromkeys(wire_row()["metadata"]),
    connectionId=None,
    connectedAt=None,
    lastHeartbeat=None,
    podId=None,
    currentMode=None,
    listenerInstanceId=None,
)
"""A row that has nothing but what every row has."""
