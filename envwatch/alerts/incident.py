"""An incident, a profile's blindness, and what they say in short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.losses import Key, key_of
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import Reason
from envwatch.model import limits
from envwatch.model.text import EMPTY, SafeText, clean, composed, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from envwatch.alerts.losses import Loss
    from envwatch.model.clock import MonotonicS, ServerMs


class Incident(NamedTuple):
    """Losses announced together."""

    id: SafeText
    """`inc-` and 12 hexadecimal digits of a hash over profile, id and last sign of life of the first noticed loss,
    equal in all processes with the same first loss."""
    profile: SafeText
    began_at: ServerMs
    """Request of the listing that proved the first loss."""
    losses: tuple[Event, ...]
    noticed_at: MonotonicS
    remaining: frozenset[Key]
    is_storm: bool = False
    """Whether too many incidents opened before; the losses are unrelated."""
    shared: SafeText | None = None
    """Values of all lost and no online environments: `pod p-7`."""
    ended_by: SafeText | None = None
    """Reason of an end without returned rows: `replaced by mac-2`."""
    silenced: int = 0
    """Number of silenced losses of the same moment, in no incident."""

    @property
    def keys(self) -> frozenset[Key]:
        """Keys of all lost environments."""
        return frozenset(key_of(loss) for loss in self.losses)

    @property
    def is_mass(self) -> bool:
        """Whether one cause is likely."""
        return len(self.losses) >= limits.MASS_MIN and self.not_back_text is None

    @property
    def not_back_text(self) -> SafeText | None:
        """Reason of rows not back after a silence: `not back by 10:00`."""
        return self.losses[0].reason if self.losses[0].kind is Kind.NOT_BACK and not self.is_storm else None

    @property
    def is_blindness(self) -> bool:
        """Whether the profile is blind, or no heartbeat arrives at all."""
        return self.losses[0].id is None

    @property
    def subject(self) -> SafeText | None:
        """`platform` or `envwatch`; None for an incident about environments."""
        if not self.is_blindness:
            return None
        return clean("platform" if self.losses[0].kind is Kind.STALLED else "envwatch")


class Blindness(NamedTuple):
    """A profile's blindness, apart from sleep."""

    noticed_at: MonotonicS
    since: ServerMs
    """Request of the newest listing, or the start of stalled heartbeats."""
    acked_at: float | None = None
    """Time of an acknowledgement that ended, so that a new incident follows."""


def ids_of_losses(waiting: Iterable[Loss], opened: Iterable[Incident]) -> Mapping[Key, SafeText]:
    """Return the incident ids of lost environments: of waiting losses, and of rows of open incidents not back."""
    ids = {key: incident.id for incident in opened for key in incident.remaining}
    return ids | {key_of(loss.event): loss.incident for loss in waiting}


_NAME_CELLS: Final = 60


def ring_text(incidents: Sequence[Incident]) -> SafeText:
    """Return `losses_text` with the number of silenced losses."""
    return clean(f"{losses_text(incidents)}{silenced_count_text(incidents)}")


def silenced_count_text(incidents: Sequence[Incident]) -> str:
    """Return ` (+12 silenced)`, or an empty text."""
    silenced = sum(incident.silenced for incident in incidents)
    return f" (+{silenced:,} silenced)" if silenced else ""


def losses_text(incidents: Sequence[Incident]) -> SafeText:
    """Return at least one loss in short: `mac-mini-2 and 2 others went offline`.

    After a silence: `3 not back by 10:00: mac-mini-2 and 2 others`.
    """
    losses = [loss for incident in incidents for loss in incident.losses if loss.id is not None]
    if not losses:
        blindness = incidents[0].losses[0]
        return composed(f"{'envwatch is blind: ' if blindness.kind is Kind.BLIND else ''}{blindness.reason}")
    first, others = losses[0], len(losses) - 1
    kinds, reasons = {loss.kind for loss in losses}, {loss.reason for loss in losses}
    who = shortened(first.name or first.id or EMPTY, _NAME_CELLS, keep="ends")
    if others:
        who = clean(f"{who} and {others} other{'s' if others > 1 else ''}")
    be, flap, was = ("are", "flap", "were") if others else ("is", "flaps", "was")
    if kinds == {Kind.NOT_BACK} and len(reasons) == 1:
        return clean(f"{len(losses):,} {first.reason}: {who}" if others else f"{who} {first.reason}")
    if kinds == {Kind.OFFLINE} and reasons == {Reason.NEVER_LISTED.value}:
        return clean(f"{who} {was} {Reason.NEVER_LISTED}")
    whats = {Kind.OFFLINE: "went offline", Kind.GONE: f"{be} gone", Kind.FLAPPING: flap}
    whats[Kind.NOT_BACK] = f"{be} not back after a silence"
    return clean(f"{who} {whats[losses[0].kind] if len(kinds) == 1 else 'went offline, flap or are gone'}")
