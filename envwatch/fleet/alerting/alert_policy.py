"""The alert policy: what can need a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from envwatch.fleet.alerting.matcher import EVERYTHING, NOTHING, Matcher
from envwatch.fleet.presence import Presence
from envwatch.model import limits

if TYPE_CHECKING:
    from datetime import timedelta, tzinfo

    from envwatch.fleet.alerting.silences import Silence
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.text import SafeText


_ENDING: Final = frozenset({Presence.LATE, Presence.OFFLINE, Presence.GONE})
"""A row ends from the first missed ping on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """One profile's alert policy."""

    alert: Matcher = EVERYTHING
    """Only these environments can need a person."""
    alert_after: timedelta = limits.ALERT_AFTER
    """From the loss to the incident."""
    ephemeral: Matcher = NOTHING
    """Rows that end by design, in addition to managed sandboxes."""
    blind_after: timedelta | None = limits.BLIND_AFTER
    """From blindness to the incident; None for never."""
    expect: tuple[SafeText, ...] = ()
    """Names or device ids that must exist."""
    silences: tuple[Silence, ...] = ()
    """The silences that recur."""
    zone: tzinfo | None = None
    """Zone of the recurring silences; None for this machine's zone."""

    def concerns(self, tracked: TrackedEnvironment, now: float) -> bool:
        """Whether a problem can need a person.

        A missing environment of the expected inventory always can, an ended ephemeral environment cannot.
        """
        presence = tracked.verdict.presence
        if presence is Presence.MISSING:
            return True
        if not self.alert.matches(tracked, now):
            return False
        return presence not in _ENDING or tracked.is_flapping or not self.ends_by_design(tracked, now)

    def ends_by_design(self, tracked: TrackedEnvironment, now: float) -> bool:
        """Whether an environment's end needs no person: a managed sandbox, or `ephemeral`."""
        return tracked.environment.is_sandbox or self.ephemeral.matches(tracked, now)


DEFAULT_POLICY: Final = AlertPolicy()
