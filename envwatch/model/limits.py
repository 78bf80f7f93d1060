"""Every constant that a verdict, a poll or an alarm depends on, with its source.

Owns the numbers, not the logic. `Limits` holds those that a user may set; the others are facts of the platform or parts
of a published algorithm, and changing them would make envwatch disagree with its own documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HEARTBEAT_EVERY = timedelta(seconds=30)
"""How often a listener pings (Letta Code CLI 0.32-0.34)."""

LISTINGS_TO_GONE = 2
"""Complete listings in a row that must lack a row before it is gone: one alone may have shifted while it was walked."""

ABSENCE_QUESTIONS = 10
"""Most requests a poll that ask the server about single rows which the listing lacks."""
ABSENCE_TRIES = 3
"""So many questions that prove nothing end the attempt: of one row, or of all rows where the route does not work."""
ABSENCE_LISTINGS = 10
"""An absence waits to be confirmed for so many listings, in none of which a row that was asked about existed."""

FRESH_LISTINGS = 2
"""A change is marked for so many listings, the one that brought it included."""
GONE_KEPT = timedelta(hours=1)
"""How long a gone environment stays on the screen, and is recognised when it returns."""

OLD_AFTER = timedelta(hours=24)
"""Offline for as long as this, an environment is no news: it is folded away behind a counted line."""

EVENTS_KEPT = 20_000
"""Events of a dashboard that can be looked at, each member of a group counted: the newest, some 4 MiB of them."""

HEADLINE_STANDS = timedelta(seconds=60)
"""A loss stands in the line for the newest event for so long, whatever small changes follow: time to look there."""

CLOCK_SAMPLES = 12
"""Answers whose `Date` bounds are intersected: one minute at the default interval."""
CLOCK_WARN_FROM = timedelta(seconds=5)
"""Offset to the server's clock from which the screen warns."""
SKEW_TOLERANCE = timedelta(seconds=30)
"""One whole heartbeat between what the clock says of a row and how long ago its heartbeat was seen to advance."""

EARLIEST_TIME = datetime(2020, 1, 1, tzinfo=UTC)
MOST_AHEAD = timedelta(days=1)
"""An instant in a row before the first (Letta is younger), or further than the second ahead of the server's clock,
cannot be true: the unit is another than milliseconds."""
SAME_CONNECTION_WITHIN = timedelta(seconds=1)
"""Two values of `connectedAt` nearer than this are one and the same beginning, rounded in another way."""

SLEPT_FROM = timedelta(seconds=5)
"""Wall and monotonic clocks drifting apart by more than this between two readings: the machine slept or was reset."""
SLEPT_TICKS = 3
"""A wait that overran by more than this many intervals: the process was stopped."""

STALE_AT_LEAST = timedelta(seconds=15)
BLIND_AT_LEAST = timedelta(seconds=60)
STALE_INTERVALS = 3
"""Data is stale, then blind, when older than these, and never before three intervals have passed."""

MASS_COUNT = 10
"""So many at once are one event, whatever the size of the fleet."""
MASS_MIN = 3
MASS_SHARE = 0.55
"""At least three, and at least this share of those that were online, are one event in a small fleet."""

ANOMALY_MIN = 3
"""Rows below which an emptied list or lost heartbeats are nothing unusual."""
LOST_BEATS_SHARE = 0.20
"""Share of rows losing `lastHeartbeat` while keeping `connectionId`, above which a list is not believed at once."""
VANISHED_SHARE = 0.20
"""Share of the known rows vanishing in one listing, unconfirmed, above which their absence is not believed at once."""
ANOMALY_POLLS = 3
ANOMALY_AFTER = timedelta(seconds=60)
"""So many listings in a row, over so long a time, must say the same unlikely thing before it is believed."""
STALL_ROWS = 10
STALL_AFTER = timedelta(seconds=60)
"""So many online rows, no heartbeat of which advances for two whole beats: the platform stands still, not they."""

FLAP_SAMPLES = 21
FLAP_EVERY = timedelta(seconds=30)
FLAP_LOW_WEIGHT = 0.75
FLAP_HIGH_WEIGHT = 1.25
FLAP_ON = 30.0
FLAP_OFF = 20.0
"""Nagios' flap detection: 21 samples, so 20 possible changes, the newest weighing 1.25 and the oldest 0.75; percent."""

CHURN_WINDOW = timedelta(hours=1)
"""What "an hour" means in "reconnects an hour"."""

BELL_HOLDS = timedelta(seconds=10)
"""A loss that does not hold so long rings no bell."""
BELL_EVERY = timedelta(seconds=10)
"""One bell in this at most: what else is lost meanwhile rings together after it."""

POLL_SPREAD = 0.1
"""Polls come up to this share of the interval early or late: in step with the heartbeats, a listing that shifts while
it is walked would lack the same rows each time."""

BACKOFF_BASE = timedelta(seconds=1)
BACKOFF_CAP = timedelta(seconds=15)
"""The longest wait after a failure, so that the screen is right again within 20 s of the server's recovery."""
LONG_BACKOFF_CAP = timedelta(seconds=60)
"""The longest wait while the server itself says that it has too much to do, or after a long outage."""
LONG_OUTAGE = timedelta(minutes=5)
"""An outage is long when it has lasted longer than this."""
RETRY_AFTER_CAP = timedelta(seconds=600)
FORCED_EVERY = timedelta(seconds=1)
"""Polls that the user wants now: one in this at most."""
WALK_PENALTY_CAP = timedelta(seconds=60)
"""The longest wait that the pages of a walk that failed can cost."""
UNAUTHORIZED_RECHECK = timedelta(seconds=30)
"""The first 401 is asked again after this, later ones after `Limits.refused_recheck`."""
FORBIDDEN_RECHECK = timedelta(minutes=15)
"""A 403 is asked again after this: plans and rights change seldom, and a wall display must notice that they did."""

CONNECT_TIMEOUT = timedelta(seconds=5)
READ_TIMEOUT = timedelta(seconds=10)
PAGE_BYTES = 8 * 1024 * 1024
"""A page may have so many bytes once inflated."""
WALK_GROWTH = 3
WALK_GROWTH_AT_LEAST = 20
"""A walk may read so many times the pages of the last good one, and at least so many more than it."""
ENDLESS_WALKS = 5
"""Walks in a row that went on beyond that, after which one is read like a first one: the fleet may have grown."""
PAGE_EVERY = timedelta(milliseconds=20)
"""From page to page beyond the burst: 1,500 pages in the 30 s of a walk, and a thousand have time to be read."""
ROW_BYTES = 256 * 1024
"""A row may have so many bytes as JSON, its texts cut to their longest: a usual one has 2,000."""
SETTINGS_BYTES = 1 << 20
"""A file of settings, ours or the Letta CLI's, may have so many bytes; a hundred profiles take 20 KiB."""
CERTIFICATES_BYTES = 16 << 20
"""A file of certificates may have so many bytes; all that Mozilla trusts take 0.3 MiB."""
BAD_ROWS_SHARE = 0.10
"""Above this share of unusable rows the listing is rejected: the format has changed, not a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a user may set."""

    online_for: timedelta = timedelta(seconds=120)
    """Age of a heartbeat at which a row is offline (the official client: `now - lastHeartbeat < 120 000 ms`)."""
    late_after: timedelta = timedelta(seconds=45)
    """Age at which a row is late: healthy ages are 0-30 s, so a ping was missed."""
    interval: timedelta = timedelta(seconds=5)
    """From the start of one poll to the start of the next."""
    requests_per_minute: int = 60
    """Request budget of one envwatch; the interval stretches to keep within it."""
    page_size: int = 100
    """Rows a page: no official client asks for more."""
    page_deadline: timedelta = timedelta(seconds=10)
    """For one page in all; httpx's timeouts are per operation, and a dripping server beats them."""
    walk_deadline: timedelta = timedelta(seconds=30)
    """For one walk over all pages."""
    refused_recheck: timedelta = timedelta(minutes=5)
    """From one try to the next with a key that was refused (401) more than once."""
    max_pages: int = 2_000
    max_rows: int = 200_000
