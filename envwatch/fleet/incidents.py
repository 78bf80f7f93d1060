"""Incidents: losses that have held, each with a stable id; they open once and resolve once.

Pure. A loss waits until it has held for the policy's `alert_after`, then it opens an incident; losses of one listing
that are a mass change, or that were found after a blind time, are one incident together. Which losses are worth a
person, and what can be seen at all, is decided by the `LossClassifier`, an argument. Acknowledging a loss, or silencing
it, before its incident opens prevents that; afterwards the incident stays open until its environments are back, since
every channel that said that it opened must be able to say that it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from hashlib import blake2s
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.model import limits
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from datetime import timedelta

    from envwatch.model.clock import MonotonicS, ServerMs

_SPREAD_S: Final = limits.INCIDENT_SPREAD.total_seconds()
_IDS_KEPT: Final = 1_000
LOSSES: Final = frozenset({Kind.OFFLINE, Kind.GONE, Kind.MISSING})
_LOST: Final = frozenset({Presence.OFFLINE.value, Presence.GONE.value})
"""What an environment was before a loss that is none: offline, then gone, then missing."""
RETURNS: Final = frozenset({Kind.ONLINE, Kind.RETURNED})

Key: TypeAlias = tuple[SafeText, SafeText]
"""Profile and id of an environment."""


class LossStatus(Enum):
    """What a loss is at a moment."""

    UNSEEN = auto()
    """Cannot be known: blind, quarantined, asleep, or the row is unproven."""
    OVER = auto()
    """It is back and steady, has left the fleet, or was acknowledged while it was gone or missing."""
    SETTLED = auto()
    """Still lost, but acknowledged, or for so long that it is no problem any more: it opens nothing."""
    QUIET = auto()
    """Still lost, but silenced or outside the alert policy for now."""
    ALERTING = auto()


LossClassifier: TypeAlias = Callable[[Key], LossStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Losses that are one message."""

    id: SafeText
    """`inc-` and 12 hexadecimal digits of a hash over the profile and, for each environment, its id and its last sign
    of life (server's clock), as the loss was found. So two processes, and one before and after a restart, give the same
    id to a disconnect or a lost heartbeat if they found it in the same rows; one that is gone has the last sign of life
    that this process saw."""
    profile: SafeText
    began_at: ServerMs
    """When the listing that proved the first loss was asked for."""
    losses: tuple[Event, ...]
    """One for each environment, as it was lost: kind, reason and `then`."""
    is_mass: bool = False
    """Whether they were lost together."""
    shared: SafeText | None = None
    """What the environments of a mass loss share: `pod p-7`."""
    noticed_at: MonotonicS
    """When the first loss was noticed, by this machine's clock."""
    remaining: frozenset[Key]
    """The environments that are not back yet."""
    joins: SafeText | None = None
    """While it waits: the id of the open incident that it becomes a part of, if that is still open then."""

    @property
    def keys(self) -> frozenset[Key]:
        """Every environment that was lost."""
        return frozenset(key_of(loss) for loss in self.losses)


@dataclass(frozen=True, slots=True)
class Incidents:
    """The losses that wait, and the incidents that are open."""

    waiting: tuple[Incident, ...] = ()
    """Those that have not held for long enough, oldest first."""
    open: tuple[Incident, ...] = ()
    """Oldest first."""
    used: tuple[SafeText, ...] = ()
    """The ids of the newest incidents that opened: a row that came and went without a sign of life needs another."""

    def with_events(
        self, events: Iterable[Event], at: MonotonicS, last_seen_alive_at: Callable[[Key], float]
    ) -> tuple[Incidents, tuple[Event, ...]]:
        """Return the incidents after a listing's events, and the events with the ids of their incidents.

        The last sign of life of an environment is by its server's clock, in ms.
        """
        groups = [event for event in events if event.members]
        following = self
        if joint := _fresh(following, flatten(groups)):
            reasons = {event.reason for event in groups if event.of in LOSSES}
            shared = reasons.pop() if len(reasons) == 1 else None
            following = _after_loss(
                following, replace(_waiting(joint, at, last_seen_alive_at), is_mass=True, shared=shared)
            )
        for event in events:
            if not event.members and (single := _fresh(following, [event])):
                following = _after_loss(following, _waiting(single, at, last_seen_alive_at))
        ids = _ids(following)
        return following, tuple(_marked(event, ids) for event in events)

    def tick(
        self, at: MonotonicS, classify_loss: LossClassifier, alert_after: Callable[[SafeText], timedelta]
    ) -> tuple[Incidents, tuple[Incident, ...], tuple[Incident, ...]]:
        """Return the incidents at a moment, those that open now, and those that resolve now.

        A waiting loss opens an incident once it has held for `alert_after`, with those of its environments that alert.
        Those that are silenced or outside the policy still wait, as an incident of their own.
        """
        if not self.waiting and not self.open:
            return self, (), ()
        open_by_id: dict[SafeText, Incident] = {}
        resolved: list[Incident] = []
        for incident in self.open:
            remaining = frozenset(key for key in incident.remaining if classify_loss(key) is not LossStatus.OVER)
            updated = replace(incident, remaining=remaining)
            if remaining:
                open_by_id[incident.id] = updated
            else:
                resolved.append(updated)
        waiting: list[Incident] = []
        opened: list[Incident] = []
        for incident in self.waiting:
            is_due = at - incident.noticed_at >= alert_after(incident.profile).total_seconds()
            alerting, others = _parted(incident, classify_loss, is_due=is_due)
            if others is not None:
                waiting.append(others)
            if alerting is None:
                continue
            if (mass := open_by_id.get(alerting.joins or EMPTY)) is not None:
                open_by_id[mass.id] = _with_losses(mass, alerting)
            else:
                opened.append(replace(alerting, joins=None))
        used = (*self.used, *(incident.id for incident in opened))[-_IDS_KEPT:]
        following = Incidents(tuple(waiting), (*open_by_id.values(), *opened), used)
        return self if following == self else following, tuple(opened), tuple(resolved)


def _ids(incidents: Incidents) -> Mapping[Key, SafeText]:
    """Return the incident of each environment that is not back."""
    all_of_them = (*incidents.waiting, *incidents.open)
    return {key: incident.joins or incident.id for incident in all_of_them for key in incident.remaining}


def _fresh(incidents: Incidents, events: Iterable[Event]) -> list[Event]:
    """Return the losses of environments that were not lost before."""
    losses = [event for event in events if event.kind in LOSSES and event.before not in _LOST]
    known = _ids(incidents) if losses else {}
    return [loss for loss in losses if key_of(loss) not in known]


def _waiting(losses: Sequence[Event], at: MonotonicS, last_seen_alive_at: Callable[[Key], float]) -> Incident:
    """Return the incident that losses will open."""
    return Incident(
        id=_hashed(losses[0].profile, *sorted(f"{loss.id}\0{last_seen_alive_at(key_of(loss)):.0f}" for loss in losses)),
        profile=losses[0].profile,
        began_at=min(loss.at for loss in losses),
        losses=tuple(losses),
        noticed_at=at,
        remaining=frozenset(map(key_of, losses)),
    )


def _after_loss(incidents: Incidents, new: Incident) -> Incidents:
    """Return the incidents after a loss: it belongs to a mass loss of the minute before, or waits for itself."""

    def is_near(mass: Incident) -> bool:
        is_joint = mass.is_mass and mass.joins is None and mass.profile == new.profile
        return is_joint and new.noticed_at - mass.noticed_at < _SPREAD_S

    if new.id in incidents.used or any(new.id == incident.id for incident in incidents.waiting):
        new = replace(new, id=_hashed(new.id, f"{new.began_at:.0f}"))
    if (mass := next(filter(is_near, incidents.waiting), None)) is not None:
        grown = _with_losses(mass, new)
        return replace(incidents, waiting=tuple(grown if each is mass else each for each in incidents.waiting))
    if (mass := next(filter(is_near, incidents.open), None)) is not None:
        new = replace(new, joins=mass.id)
    return replace(incidents, waiting=(*incidents.waiting, new))


def _parted(
    incident: Incident, classify_loss: LossClassifier, *, is_due: bool
) -> tuple[Incident | None, Incident | None]:
    """Return the part of a waiting incident that opens now, and the part that still waits; None for an empty one."""
    statuses = {key: classify_loss(key) for key in incident.remaining}
    waits = (LossStatus.UNSEEN, LossStatus.QUIET, *(() if is_due else (LossStatus.ALERTING,)))
    alerting = frozenset(key for key, status in statuses.items() if is_due and status is LossStatus.ALERTING)
    waiting = frozenset(key for key, status in statuses.items() if status in waits)
    others = _narrowed(incident, waiting)
    if others is not None and alerting:
        # It may open later, as an incident of its own.
        others = replace(others, id=_hashed(incident.id, *sorted(id_ for _, id_ in waiting)))
    return _narrowed(incident, alerting), others


def _with_losses(incident: Incident, other: Incident) -> Incident:
    return replace(incident, losses=(*incident.losses, *other.losses), remaining=incident.remaining | other.remaining)


def _narrowed(incident: Incident, keys: frozenset[Key]) -> Incident | None:
    """Return an incident with some of its environments only; None if that leaves none."""
    if len(keys) == len(incident.losses) or not keys:
        return incident if keys else None
    return replace(incident, losses=tuple(loss for loss in incident.losses if key_of(loss) in keys), remaining=keys)


def _marked(event: Event, ids: Mapping[Key, SafeText]) -> Event:
    """Return an event with the id of its incident, its members likewise; a group whose members have one has it too."""
    if event.members:
        members = tuple(_marked(member, ids) for member in event.members)
        found = {member.incident for member in members if member.incident is not None}
        return replace(event, members=members, incident=found.pop() if len(found) == 1 else None)
    return replace(event, incident=ids.get(key_of(event))) if event.kind in LOSSES | RETURNS else event


def _hashed(*parts: str) -> SafeText:
    digest = blake2s("\n".join(parts).encode(), digest_size=6).hexdigest()
    return clean(f"inc-{digest}")


def key_of(event: Event) -> Key:
    """Return profile and id of an event's environment; the id is empty if it is about the fleet."""
    return (event.profile, event.id or EMPTY)
