"""The rows of one listing: one for each id, and what they say of environments while the listing is quarantined.

Pure.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import ServerClock, ServerMs
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Snapshot
    from envwatch.model.text import SafeText


def rows_of(snapshot: Snapshot, clock: ServerClock) -> dict[SafeText, tuple[Environment, ServerMs]]:
    """Return each id's row and when it was asked for; of duplicates, the one with the newest heartbeat."""
    rows: dict[SafeText, tuple[Environment, ServerMs]] = {}
    for page in snapshot.pages:
        at = clock.server_time(page.asked_at)
        for environment in page.environments:
            other = rows.get(environment.id)
            if other is None or _recency(environment) > _recency(other[0]):
                rows[environment.id] = (environment, at)
    return rows


def _recency(environment: Environment) -> tuple[float, float, str]:
    """Return a key that is greater for the newer of two rows of one id, in whatever order they came."""
    beat_at = environment.last_heartbeat_at
    return (float("-inf") if beat_at is None else beat_at, environment.last_seen_at, repr(environment))


def still_listed(
    environments: Mapping[SafeText, TrackedEnvironment], rows: Collection[SafeText]
) -> Mapping[SafeText, TrackedEnvironment]:
    """Return the environments after a quarantined listing: listed rows are not absent, nothing else changes."""
    present = {
        id_: replace(tracked, absent=0)
        for id_, tracked in environments.items()
        if tracked.absent and id_ in rows and not tracked.presence.is_absent
    }
    return MappingProxyType({**environments, **present}) if present else environments
