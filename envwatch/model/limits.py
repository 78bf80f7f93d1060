"""Every constant that a verdict, a poll or an alert depends on, with its source.

Owns the numbers, not the logic. `Limits` holds those that a user may set; the others are facts of the platform or parts
of a published algorithm, and changing them would make envwatch disagree with its own documentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

HEARTBEAT_EVERY = timedelta(seconds=30)
"""How often a listener pings (Letta Code CLI 0.32-0.34)."""

LISTINGS_TO_GONE = 2
"""Complete listings in a row that must lack a row before it is gone: a single one may have shifted during its walk."""

ABSENCE_QUESTIONS = 10
"""Most requests of one poll that ask the server about single absent rows."""
ABSENCE_TRIES = 3
"""Inconclusive requests that end the attempt: for one row, or for all rows where the route does not work."""
ABSENCE_LISTINGS = 10
"""Listings for which an absence waits to be confirmed, if no row that was asked about exists in any of them."""

MARK_DURATION = timedelta(minutes=15)
"""How long the tag of a change stays on a row: a fresh loss looks fresh for 15 minutes."""
GONE_IS_PROBLEM_FOR = MARK_DURATION
"""How long a row that is gone counts as a problem: as long as the tag of its loss stays."""
MISSING_AFTER = timedelta(minutes=15)
"""Time gone after which an expected environment is missing, and so remains a problem."""
RESTART_MEMORY = timedelta(minutes=15)
"""A new run goes on from a run that ended less than this before: every change in between is marked, and no notice names
the gap."""
GONE_KEPT = timedelta(hours=1)
"""How long a gone environment stays on the screen, and is recognised when it returns."""

REPLACEMENT_TOLERANCE = timedelta(seconds=5)
"""How much before the last sign of life of an old row a new row may have been first seen: the server notes that a
connection is closed, and that a new row is registered, in either order."""
REPLACEMENT_ROWS = 100
"""Rows of one surface on one device above which no row counts as replaced: many machines share an image's device id."""

OLD_AFTER = timedelta(hours=24)
"""Time offline after which an environment is folded away behind a counted line."""

EVENTS_KEPT = 20_000
"""Newest events that a dashboard keeps, each member of a group counted: 10 to 20 MiB."""

HEADLINE_STANDS = timedelta(seconds=60)
"""How long a loss stays in the line for the newest event, whatever small changes follow."""

CLOCK_SAMPLES = 12
"""Responses whose `Date` bounds are intersected: one minute at the default interval."""
CLOCK_WARN_FROM = timedelta(seconds=5)
"""Offset to the server's clock from which the screen warns."""
SKEW_TOLERANCE = timedelta(seconds=30)
"""One whole heartbeat: what the server's clock and the listings may differ in about a heartbeat's age."""

EARLIEST_MS = datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000
"""An instant before this (ms since the epoch) cannot be true, as Letta is younger: its unit is not milliseconds."""
MOST_AHEAD = timedelta(days=1)
"""Nor can an instant that is further ahead of the server's clock than this."""
SIGN_OF_LIFE = timedelta(seconds=15)
"""A heartbeat that advanced by less than this is no sign of life: two replicas may round one heartbeat differently."""
SAME_CONNECTION_WITHIN = timedelta(seconds=1)
"""Two values of `connectedAt` nearer than this are the same instant, rounded differently."""

SLEPT_FROM = timedelta(seconds=5)
"""Drift between wall and monotonic clock from which the machine slept or its clock was set."""
SLEPT_TICKS = 3
"""A wait that overran by more than this many intervals: the process was stopped."""

STALE_AT_LEAST = timedelta(seconds=15)
"""Data older than this is stale."""
BLIND_AT_LEAST = timedelta(seconds=60)
"""Data older than this is blind: every row reads unknown."""
STALE_INTERVALS = 3
"""Data is neither stale nor blind before this many intervals have passed."""

MASS_COUNT = 10
"""This many events of one kind in a listing are one mass change, whatever the size of the fleet."""
MASS_MIN = 3
"""In a small fleet it takes at least this many losses or reconnects."""
MASS_SHARE = 0.55
"""And at least this share of the rows that were online."""

ANOMALY_MIN = 3
"""Rows below which an emptied list, vanished rows or lost heartbeats are normal."""
LOST_BEATS_SHARE = 0.20
"""Share of rows losing `lastHeartbeat` while keeping `connectionId`, above which a list is not believed at once."""
VANISHED_SHARE = 0.20
"""Share of rows vanishing in one listing, unconfirmed, above which their absence is not believed at once."""
ANOMALY_POLLS = 3
"""Listings in a row that must say the same unlikely thing before it is believed."""
ANOMALY_AFTER = timedelta(seconds=60)
"""Time that those listings must cover."""
STALL_ROWS = 10
"""Online rows from which heartbeats that stand still everywhere are the platform's fault."""
STALL_AFTER = timedelta(seconds=60)
"""Time without any heartbeat advancing, two whole beats, after which they count as stalled."""

FLAP_SAMPLES = 21
"""Nagios' flap detection looks at 21 samples, so at 20 possible changes."""
FLAP_EVERY = timedelta(seconds=30)
"""Length of a sample."""
FLAP_LOW_WEIGHT = 0.75
"""Weight of the oldest change."""
FLAP_HIGH_WEIGHT = 1.25
"""Weight of the newest change."""
FLAP_ON = 30.0
"""Weighted percentage of changes from which an environment flaps."""
FLAP_OFF = 20.0
"""Percentage at which it stops."""

CHURN_WINDOW = timedelta(hours=1)
"""The hour of "reconnects an hour"."""

ALERT_AFTER = timedelta(seconds=90)
"""How long a loss must last before it opens an incident, unless the alert policy says otherwise. A row that reconnects
within a minute, as after an upgrade or a deploy, is no incident."""
DEMO_ALERT_AFTER = timedelta(seconds=10)
"""The same in the demo, whose losses last seconds."""
BLIND_AFTER = timedelta(minutes=15)
"""How long a profile is blind before that is an incident about envwatch, unless the configuration says otherwise."""
HISTORY_DAYS = 14
"""How many days of the history are kept, not counting today, unless the configuration says otherwise."""
HISTORY_MB = 256
"""Of a profile's history at most, in units of 2^20 bytes, unless the configuration says otherwise."""

BELL_EVERY = timedelta(seconds=10)
"""At most one bell in this time: later incidents share the next one."""
DEATH_WITHIN = 2 * HEARTBEAT_EVERY
"""A machine dies at most this long after its last heartbeat, if it missed one ping at most."""
BACK_AFTER = timedelta(seconds=60)
"""How long a row must be up again before its loss is over: a loss before that continues the loss."""
LONG_AGO = timedelta(hours=24)
"""The age of the last look of an earlier run from which a message names that age."""
STORM_FROM = 5
"""This many incidents of a profile in `STORM_WINDOW` are a storm."""
STORM_WINDOW = timedelta(minutes=10)
STORM_EVERY = timedelta(minutes=1)
"""From one incident to the next in a storm: each holds all losses that wait."""
MOST_LOSSES_WAITING = 1_000
"""Losses of a profile that are compared with each other; more losses are one incident."""
MOST_INCIDENTS_OPEN = 1_000
"""Open incidents of a profile; beyond that the oldest resolves."""
SILENCE_CLOCK_SLACK = timedelta(minutes=5)
"""How far this machine's clock may have been set back behind the beginning of a silence that still counts."""
LONGEST_SILENCE = timedelta(days=365)
QUIET_AT_MOST = timedelta(days=7)
"""Time after which a loss counts even if quiet hours follow quiet hours without end."""
ZONES_APART = timedelta(hours=26)
"""From the clocks of UTC-12 to those of UTC+14, the outermost zones of the IANA database."""
LONGEST_WATCH = timedelta(days=365)
"""How long a command may be asked to watch or to wait."""

POLL_SPREAD = 0.1
"""Share of the interval by which polls come early or late: in step with the heartbeats, a listing that shifts
during its walk would lack the same rows each time."""

BACKOFF_BASE = timedelta(seconds=1)
"""The wait after the first failure, at most; it doubles with each further one."""
BACKOFF_CAP = timedelta(seconds=15)
"""The longest wait after a failure, so that the screen is right again within 20 s of the server's recovery."""
LONG_BACKOFF_CAP = timedelta(seconds=60)
"""The longest wait while the server reports overload, or after a long outage."""
LONG_OUTAGE = timedelta(minutes=5)
"""An outage is long when it has lasted longer than this."""
RETRY_AFTER_CAP = timedelta(seconds=600)
"""The longest `Retry-After` that is obeyed."""
LISTING_AGE_CAP = timedelta(days=1)
"""The greatest age of a served listing that is believed."""
FORCED_EVERY = timedelta(seconds=1)
"""At most one poll on request of the user in this time."""
WALK_PENALTY_CAP = timedelta(seconds=60)
"""The longest wait that the pages of a failed walk can cost."""
UNAUTHORIZED_RECHECK = timedelta(seconds=30)
"""Wait after the first 401; later ones wait for `Limits.refused_recheck`."""
FORBIDDEN_RECHECK = timedelta(minutes=15)
"""Wait after a 403: plans and rights change seldom, and a wall display must notice that they did."""

SLOW_PAGE = timedelta(seconds=2)
"""Time for one page from which `doctor` warns: 8 such pages and the data is stale before the listing is there."""
CERTIFICATE_WARN_FROM = timedelta(days=7)
"""Time to the end of the server's certificate from which `doctor` warns: by then a renewal has failed."""

CONNECT_TIMEOUT = timedelta(seconds=5)
READ_TIMEOUT = timedelta(seconds=10)
PAGE_BYTES = 8 * 1024 * 1024
"""Most bytes of an inflated page."""
WALK_GROWTH = 3
"""A walk may read at most this many times the pages of the last good one."""
WALK_GROWTH_AT_LEAST = 20
"""But always this many pages more than it."""
ENDLESS_WALKS = 5
"""Walks in a row that exceed that, after which one is read without the limit: the fleet may have grown."""
PAGE_EVERY = timedelta(milliseconds=5)
"""From page to page beyond the burst: a server that answers at once gets 200 requests a second at most."""
ROW_BYTES = 256 * 1024
"""Most bytes of a row as JSON, its texts cut to their longest: a usual one has 2,000."""
SETTINGS_BYTES = 1 << 20
"""Most bytes of a settings file, ours or the Letta CLI's; a hundred profiles take 20 KiB."""
CERTIFICATES_BYTES = 16 << 20
"""Most bytes of a certificate file; all that Mozilla trusts take 0.3 MiB."""
BAD_ROWS_SHARE = 0.10
"""Share of unusable rows above which the listing is rejected: then the format has changed, not a row."""

HOOK_TIME = timedelta(seconds=30)
"""How long one run of a hook may take."""
HOOK_QUEUE = 100
"""Messages about events that wait for one hook; further ones are dropped, and counted. No incident is dropped."""
HOOK_OUTPUT_BYTES = 64 * 1024
"""Output of a hook's command, after which it is ended."""
HOOK_TRIED_FOR = timedelta(minutes=30)
"""How long a message of a hook that fails is tried, except the opening of an incident that is still open."""
HOOK_BACKOFF_BASE = timedelta(seconds=1)
HOOK_BACKOFF_CAP = timedelta(minutes=5)
"""The longest rest after a hook's first failure, and after many failures; the bound doubles with each failure."""
HOOK_FAILING_AFTER = timedelta(minutes=10)
"""How long a hook has failed when people and the dead man's switch are told."""
PING_EVERY = timedelta(minutes=1)
"""The shortest time from ping to ping of a dead man's switch."""
PING_TIME = timedelta(seconds=10)
"""How long one ping may take."""
HOOK_FAREWELL = timedelta(seconds=5)
"""How long the messages that wait have when envwatch ends."""


_T = TypeVar("_T")


def setting(default: _T, *, example: str, part: str, **scope: Any) -> _T:  # noqa: ANN401 - flags, words and bounds
    """Declare a setting of a profile; its docstring is the help.

    Args:
        default: the value if no source sets one.
        example: a value as TOML, for a new configuration file.
        part: the part of the configuration file; see `config/declared.py`.
        scope: `bounds` in seconds or as whole numbers, both included; `option` if the command line has the setting;
            `demo` if the demo takes the setting from file and variables; `place_of`, the word for a value whose place
            two settings can name.
    """
    return field(default=default, metadata={"example": example, "part": part, **scope})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that a user may set."""

    # The official client: `now - lastHeartbeat < 120 000 ms`.
    online_for: timedelta = setting(timedelta(seconds=120), bounds=(10, 3600), example='"2m"', part="limits")
    """Age of the heartbeat from which an environment is offline."""
    # Healthy ages are 0-30 s, so a ping was missed.
    late_after: timedelta = setting(timedelta(seconds=45), bounds=(5, 3600), example='"45s"', part="limits")
    """Age of the heartbeat from which an environment is late; shorter than `online_for`."""
    # From the start of one poll to the start of the next.
    interval: timedelta = setting(
        timedelta(seconds=5), bounds=(1, 600), example='"10s"', part="usual", option=True, demo=True
    )
    """Time from the start of a poll to the start of the next poll."""
    # The interval stretches to keep within the budget of one envwatch.
    requests_per_minute: int = setting(60, bounds=(1, 6000), example="60", part="limits")
    """Request budget. Long listings lengthen the interval to stay within the budget."""
    # No official client asks for more.
    page_size: int = setting(100, bounds=(1, 1000), example="100", part="usual", option=True, demo=True)
    """Rows per request."""
    # httpx's timeouts are per operation, and a dripping server beats them.
    page_deadline: timedelta = setting(timedelta(seconds=10), bounds=(1, 300), example='"10s"', part="limits")
    """Longest time for one page."""
    walk_deadline: timedelta = setting(timedelta(seconds=30), bounds=(1, 600), example='"30s"', part="limits")
    """Longest time for one listing; not shorter than `page_deadline`."""
    refused_recheck: timedelta = setting(timedelta(minutes=5), bounds=(30, 3600), example='"5m"', part="limits")
    """Time between two tries with a key that the server keeps refusing (401)."""
    max_pages: int = setting(2_000, bounds=(1, 100_000), example="2000", part="limits")
    """Most pages of a listing. A longer listing counts as endless, and the poll fails."""
    max_rows: int = setting(200_000, bounds=(1, 1_000_000), example="200000", part="limits")
    """Most rows of a listing. A longer listing counts as endless, and the poll fails."""

    def budgeted(self, requests: int) -> timedelta:
        """Return the request budget's time for `requests`."""
        return timedelta(minutes=1) * requests / self.requests_per_minute

    def pace(self, requests: int, took: timedelta) -> timedelta:
        """Return the time from poll to poll, for a listing's requests and duration.

        The request budget may lengthen the interval, and a poll skips the ticks of its own duration.
        """
        tick = max(self.interval, self.budgeted(requests))
        return tick * max(math.ceil(took / tick), 1)
