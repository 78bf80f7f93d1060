"""When the terminal's bell rings: for incidents that opened, all that are due together at once, and seldom.

Pure: the moment is an argument. The periods stand in `limits`. Whether the bell is on, and how it sounds, is decided
elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import Kind
from envwatch.model import limits
from envwatch.model.text import EMPTY, SafeText, clean, composed, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.alerting.incidents import Incident
    from envwatch.model.clock import MonotonicS

_EVERY_S: Final = limits.BELL_EVERY.total_seconds()
_NAME_CELLS: Final = 60
"""Cells of a name in a notification."""


@dataclass(frozen=True, slots=True)
class Alerts:
    """The open incidents that are not announced yet, and when the bell last rang."""

    waiting: tuple[Incident, ...] = ()
    """Oldest first."""
    rang_at: MonotonicS | None = None
    """None before the first bell."""

    def apply(self, opened: Sequence[Incident], resolved: Sequence[Incident]) -> Alerts:
        """Return the alerts after incidents opened and others resolved; what resolves before its bell has none."""
        over = {incident.id for incident in resolved}
        waiting = tuple(incident for incident in (*self.waiting, *opened) if incident.id not in over)
        return Alerts(waiting, self.rang_at)

    def due(self, at: MonotonicS) -> tuple[Alerts, tuple[Incident, ...]]:
        """Return the alerts at a moment, and the incidents to announce with one bell; no bell if there are none."""
        may_ring = self.rang_at is None or at - self.rang_at >= _EVERY_S
        if not self.waiting or not may_ring:
            return self, ()
        return Alerts((), at), self.waiting


def ring_text(incidents: Sequence[Incident]) -> SafeText:
    """Return the losses in short: `mac-mini-2 went offline`, `mac-mini-2 and 2 others went offline`; at least one."""
    losses = [loss for incident in incidents for loss in incident.losses if loss.id is not None]
    if not losses:
        return composed(f"envwatch is blind: {incidents[0].losses[0].reason}")
    first, others = losses[0], len(losses) - 1
    who = shortened(first.name or first.id or EMPTY, _NAME_CELLS, keep="ends")
    if others:
        who = clean(f"{who} and {others} other{'s' if others > 1 else ''}")
    be, flap = ("are", "flap") if others else ("is", "flaps")
    whats = {Kind.OFFLINE: "went offline", Kind.GONE: f"{be} gone", Kind.MISSING: f"{be} missing", Kind.FLAPPING: flap}
    kinds = {loss.kind for loss in losses}
    return clean(f"{who} {whats[losses[0].kind] if len(kinds) == 1 else 'went offline, flap or are gone'}")
