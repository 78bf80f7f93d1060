"""Groups of events: a blind time's events, or many events of the same kind in a listing."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.recent_changes import value_of
from envwatch.model import limits
from envwatch.model.environment import LABELS, Environment
from envwatch.model.text import SafeText, composed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.fleet.tracking import Environments
    from envwatch.model.clock import ServerMs

_OF_THE_CONNECTED = frozenset({Kind.OFFLINE, Kind.GONE, Kind.RECONNECTED, Kind.RESTARTED})
"""Kinds that affect online rows: a large share makes a mass change."""

_SHAREABLE: Final = (
    "pod_id",
    "user_id",
    "api_key_owner",
    "organization_id",
    "os",
    "version",
    "node_version",
    "branch",
    "mode",
)
"""Fields that may explain a common loss, likeliest first."""


def in_groups(
    events: list[Event], before: Environments, after: Environments, at: ServerMs, unseen_since: ServerMs | None
) -> list[Event]:
    """Return a listing's events: one group after a blind time, else a group for each mass change."""
    if not events:
        return []
    if unseen_since is not None:
        since = min(unseen_since, at)  # a served listing may be older than a sleep
        profile, members = events[0].profile, tuple(events)
        return [Event(kind=Kind.WHILE_BLIND, at=at, profile=profile, since=since, members=members)]
    were_online = sum(tracked.verdict.is_up for tracked in before.values())
    by_kind: dict[Kind, list[Event]] = defaultdict(list)
    for event in events:
        by_kind[event.kind].append(event)
    masses = {kind: same for kind, same in by_kind.items() if is_mass(same, were_online)}
    return [
        _together(masses[event.kind], before, after) if event.kind in masses else event
        for event in events
        if event.kind not in masses or event is masses[event.kind][0]
    ]


def _together(same: Sequence[Event], before: Environments, after: Environments) -> Event:
    kind, reason = same[0].kind, None
    if kind in _OF_THE_CONNECTED:
        ids = {event.id for event in same if event.id is not None}
        # The row from before the listing: a row that went offline has lost the pod.
        lost = [(before.get(id_) or after[id_]).environment for id_ in ids]
        survivors = (
            tracked.environment
            for id_, tracked in before.items()
            if id_ not in ids and tracked.verdict.is_up and after[id_].verdict.is_up
        )
        reason = blast_radius_text(lost, survivors)
    return Event(
        kind=Kind.TOGETHER,
        of=kind,
        at=max(event.at for event in same),
        profile=same[0].profile,
        reason=reason,
        members=tuple(same),
    )


def is_mass(same: Sequence[Event], were_online: int) -> bool:
    """Whether a listing's events of one kind (at least one) are a mass change."""
    if len(same) >= limits.MASS_COUNT:
        return True
    # An offline row that is gone was not online before.
    affected = sum(event.kind is not Kind.GONE or event.before == "online" for event in same)
    is_of_the_connected = same[0].kind in _OF_THE_CONNECTED
    return is_of_the_connected and affected >= limits.MASS_MIN and affected >= limits.MASS_SHARE * were_online


def blast_radius_text(lost: Sequence[Environment], survivors: Iterable[Environment]) -> SafeText | None:
    """Return `blast_radius` as `pod p-7, os linux`."""
    return composed(", ".join(f"{field} {value}" for field, value in blast_radius(lost, survivors))) or None


def blast_radius(lost: Sequence[Environment], survivors: Iterable[Environment]) -> tuple[tuple[str, SafeText], ...]:
    """Return the field values that all lost rows (at least one) share, without values of survivors."""
    shared = []
    for name in _SHAREABLE:
        values = {value_of(environment, name) for environment in lost}
        if len(values) == 1 and (value := values.pop()):
            shared.append((name, value))
    for survivor in survivors:
        shared = [(name, value) for name, value in shared if value_of(survivor, name) != value]
        if not shared:
            break
    return tuple((LABELS[name], value) for name, value in shared)
