"""The alert policy: which environments can need a person, and the expected inventory.

A query's test is a callable: the filter language is in a higher layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import went_off_at
from envwatch.model import limits
from envwatch.model.text import EMPTY, SafeText

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta, tzinfo

    from envwatch.fleet.alerting.quiet import QuietHours
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.limits import Limits

Test: TypeAlias = "Callable[[TrackedEnvironment, float], bool]"
"""At a moment (server's clock, ms)."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A query as a test, compared by text."""

    query: SafeText
    """The canonical spelling."""
    matches: Test = field(compare=False, repr=False)


_ENDING: Final = frozenset({Presence.LATE, Presence.OFFLINE, Presence.GONE})
"""A row ends from the first missed ping on."""

EVERYTHING: Final = Matcher(EMPTY, lambda _tracked, _now: True)
NOTHING: Final = Matcher(EMPTY, lambda _tracked, _now: False)


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
    quiet: tuple[tuple[Matcher, QuietHours], ...] = ()
    zone: tzinfo | None = None
    """The zone of quiet hours; None for this machine's zone."""

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

    def quiet_end(self, tracked: TrackedEnvironment, fleet_limits: Limits, now: float) -> float | None:
        """Return when the quiet hours ended or will end (server's clock, ms) in which an environment went off.

        A late environment counts as if it went off now. `now` is the moment of the filters too. None means up, or off
        outside quiet hours.
        """
        presence = tracked.verdict.presence
        if not self.quiet or (presence is Presence.ONLINE and not tracked.is_flapping):
            return None
        off_at = now if presence is Presence.LATE else min(went_off_at(tracked, fleet_limits), now)
        return self.quiet_period_end(tracked, off_at, now)

    def quiet_period_end(self, tracked: TrackedEnvironment, off_at: float, now: float) -> float | None:
        """Return the end of an environment's quiet hours that hold at `off_at`, if any."""
        if not self.quiet:
            return None
        from envwatch.fleet.alerting.quiet import quiet_end  # noqa: PLC0415 - only with quiet hours

        return quiet_end((hours for matcher, hours in self.quiet if matcher.matches(tracked, now)), off_at, self.zone)


DEFAULT_POLICY: Final = AlertPolicy()
