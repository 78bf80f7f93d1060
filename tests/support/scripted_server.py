"""A listing scripted poll by poll and rebuilt for each request, so rows keep beating."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from support.builders import wire_row
from support.faulty_server import Faulty, Reply, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Script: TypeAlias = "Callable[[float], Sequence[Mapping[str, Any]]]"
"""Returns the rows of a listing at an instant in milliseconds."""


class Scripted(Faulty):
    def __init__(self, script: Script) -> None:
        super().__init__(())
        self.script = script
        """May be replaced while the server runs."""

    def _listing(self, seen: Seen) -> Reply:
        if "after" not in seen.query:
            self.rows = self.script(time.time() * 1000)
        return super()._listing(seen)


_STARTED = time.time() * 1000


def up(id_: str, now: float, **changes: Any) -> dict[str, Any]:
    """Return a row that connected a day ago and beat 5 s ago; the default name is the id."""
    beat = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": _STARTED - 86_400_000}
    return wire_row(id_, **({"connectionName": id_} | beat | changes))


def down(id_: str, seen_at: float, **changes: Any) -> dict[str, Any]:
    """Return a row without connection, last seen at an instant in milliseconds."""
    return up(id_, seen_at, connectionId=None, lastHeartbeat=None, lastSeenAt=seen_at, **changes)
