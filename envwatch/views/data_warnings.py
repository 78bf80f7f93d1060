"""What is wrong with data that comes: a listing that is held, heartbeats that stall, a `Date` that cannot be true.

Pure. Each text says what, since when, what envwatch believes, and until when. A failed poll has its own message.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envwatch.fleet.anomalies import Anomaly
from envwatch.fleet.events import Kind
from envwatch.model import limits
from envwatch.model.text import Clean, counted
from envwatch.model.times import MS, NOTHING, clock_text, short_age
from envwatch.views.state_style import date_warning

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from envwatch.fleet.fleet import Fleet
    from envwatch.model.clock import Reading, ServerMs

_HELD: Final[Mapping[Anomaly, str]] = {
    Anomaly.EMPTIED: "empty list",
    Anomaly.VANISHED: "rows vanished",
    Anomaly.BEATS_LOST: "beats lost",
}
"""What is held, in few words."""


def hold_badge(fleet: Fleet, now: Reading) -> tuple[Clean, Clean] | None:
    """Return what is held of the newest listing, and for how long; None if all of it is believed."""
    if fleet.hold is None:
        return None
    held_for = timedelta(seconds=max(now.monotonic - fleet.hold.since, 0.0))
    return Clean(_HELD[fleet.hold.anomaly]), short_age(held_for)


def hold_text(fleet: Fleet, now: Reading, zone: tzinfo | None) -> Clean | None:
    """Return what is not believed of the newest listing, and what the rows show meanwhile; None if all of it is."""
    hold, since = fleet.hold, fleet.periods.get(Kind.HELD)
    if hold is None or since is None:
        return None
    listings = counted(max(limits.ANOMALY_POLLS - hold.listings, 1), "more listing")
    until = clock_text(since + limits.ANOMALY_AFTER / MS, zone) if hold.left_s(now.monotonic) else listings
    shown = "rows that it lacks stay as they were"
    if hold.is_whole and fleet.listed is not None:
        shown = f"rows are as of {clock_text(fleet.clock.at(fleet.listed.wall), zone)}"
    return Clean(f"{hold.finding.text} ({clock_text(since, zone)}): not believed before {until}; {shown} (r asks now)")


def stalled_since(fleet: Fleet) -> ServerMs | None:
    """Return since when no heartbeat advances (server's clock); None if they do."""
    return fleet.periods.get(Kind.STALLED) if fleet.stall_detector.is_stalled else None


def doubt_text(fleet: Fleet, zone: tzinfo | None) -> Clean | None:
    """Return why rows read unknown although polls succeed; None if nothing is wrong with all of them."""
    if fleet.stall_detector.is_stalled:
        since = stalled_since(fleet)
        moment = NOTHING if since is None else clock_text(since, zone)
        return Clean(
            f"no heartbeat has advanced since {moment}: the platform stalls, not the machines; they read unknown"
        )
    if (warning := date_warning(fleet)) is not None:
        return Clean(f"{warning}: not believed; what only it proves reads unknown (clk?)")
    return None
