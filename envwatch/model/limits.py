"""Every constant that a verdict, a poll or an alert depends on, with its source.

`Limits` holds the settings. The other constants are facts of the platform or parts of a published algorithm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

HEARTBEAT_EVERY = timedelta(seconds=30)
"""How often a listener pings (Letta Code CLI 0.32-0.34)."""

LISTINGS_TO_GONE = 2
"""Successive complete listings that must lack a row before the row is gone: a single listing may have shifted during
the walk."""

ABSENCE_QUESTIONS = 10
"""Most requests of a poll for single absent rows."""
ABSENCE_TRIES = 3
"""Inconclusive requests that end the attempt: for one row, or for all rows where the route does not work."""
ABSENCE_LISTINGS = 10
"""Listings for which an absence waits for confirmation, if no requested row exists."""

MARK_DURATION = timedelta(minutes=15)
"""How long a row keeps the tag of a change."""
GONE_IS_PROBLEM_FOR = MARK_DURATION
MISSING_AFTER = timedelta(minutes=15)
RESTART_MEMORY = timedelta(minutes=15)
"""A new run continues a run that ended less than this before: all changes are marked, and no notice names the gap."""
GONE_KEPT = timedelta(hours=1)
"""How long a gone environment stays on the screen and is recognised."""

REPLACEMENT_TOLERANCE = timedelta(seconds=5)
"""How long before an old row's last sign of life a new row may have been first seen: the server notes the closed
connection and the new row in either order."""
REPLACEMENT_ROWS = 100
"""Rows of one surface on one device above which no row counts as replaced: many machines share an image's device id."""

OLD_AFTER = timedelta(hours=24)
"""Time offline after which an environment is old."""

EVENTS_KEPT = 10_000
"""Newest events that a dashboard keeps, group members counted: 5 to 10 MiB."""

HEADLINE_STANDS = timedelta(seconds=60)
"""How long a loss stays in the news line."""

CLOCK_SAMPLES = 12
"""Responses whose `Date` bounds are intersected: one minute at the default interval."""
CLOCK_WARN_FROM = timedelta(seconds=5)
"""Offset to the server's clock from which the screen warns."""
SKEW_TOLERANCE = timedelta(seconds=30)
"""The allowed difference between a heartbeat's age by the server's clock and by the listings."""

EARLIEST_MS = datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000
"""An instant before this (ms since the epoch) cannot be true, because Letta is younger."""
MOST_AHEAD = timedelta(days=1)
"""An instant further ahead of the server's clock cannot be true."""
SIGN_OF_LIFE = timedelta(seconds=15)
"""A smaller advance of a heartbeat is no sign of life: two replicas may round a heartbeat differently."""
SAME_CONNECTION_WITHIN = timedelta(seconds=1)
"""Two values of `connectedAt` nearer than this are the same instant."""

SLEPT_FROM = timedelta(seconds=5)
"""Drift between wall and monotonic clock from which the machine slept or its clock was set."""
SLEPT_TICKS = 3
"""A wait that overran by more than this many intervals: the process was stopped."""

STALE_AT_LEAST = timedelta(seconds=15)
BLIND_AT_LEAST = timedelta(seconds=60)
"""Data older than this is blind: every row reads unknown."""
STALE_INTERVALS = 3
"""Data is neither stale nor blind before this many intervals have passed."""

MASS_COUNT = 10
"""This many events of a kind in a listing are a mass change in any fleet."""
MASS_MIN = 3
"""In a small fleet, a mass change needs at least this many losses or reconnects."""
MASS_SHARE = 0.55
"""In a small fleet, a mass change needs at least this share of the online rows."""

ANOMALY_MIN = 3
"""Rows below which an emptied list, vanished rows or lost heartbeats are normal."""
LOST_BEATS_SHARE = 0.20
"""Share of rows that lose `lastHeartbeat` and keep `connectionId`, above which a listing is quarantined."""
VANISHED_SHARE = 0.20
"""Share of rows vanishing in one listing, unconfirmed, above which the absences are quarantined."""
ANOMALY_POLLS = 3
"""Listings in a row with the same anomaly before the anomaly is believed."""
ANOMALY_AFTER = timedelta(seconds=60)
"""Time that these listings must cover."""
STALL_ROWS = 10
"""Online rows from which heartbeats that stand still everywhere are the platform's fault."""
STALL_AFTER = timedelta(seconds=60)
"""Time without an advancing heartbeat, two periods, after which heartbeats are stalled."""

FLAP_SAMPLES = 21
"""Nagios' flap detection looks at 21 samples, so at 20 possible changes."""
FLAP_EVERY = timedelta(seconds=30)
FLAP_LOW_WEIGHT = 0.75
FLAP_HIGH_WEIGHT = 1.25
FLAP_ON = 30.0
"""Weighted percentage of changes from which an environment flaps."""
FLAP_OFF = 20.0
"""Weighted percentage at which flapping ends."""

CHURN_WINDOW = timedelta(hours=1)

ALERT_AFTER = timedelta(minutes=4)
"""How long a row must be silent before the loss counts, by default. Most upgrades and deploys take less."""
LISTED_AS_LOST_FOR = timedelta(seconds=60)
"""How long a loss must be listed before the loss counts: after an outage of the platform, machines reconnect within a
minute."""
LISTED_AS_LOST_SHARE = 0.25
"""The same as a share of a short `alert_after`."""
SLOW_INTERVAL = timedelta(seconds=30)
SLOW_WAIT = timedelta(seconds=290)
"""Most of silence and poll interval together if the interval is over `SLOW_INTERVAL`, so that a person knows within 5
minutes."""
ONE_MESSAGE_FROM = timedelta(minutes=3)
"""With a shorter `alert_after`, one outage may be several messages."""
DEMO_ALERT_AFTER = timedelta(seconds=10)
"""The same in the demo, whose losses last seconds."""
BLIND_AFTER = timedelta(minutes=15)
"""How long a profile is blind before an incident opens, by default."""
STALL_ALERT_AFTER = timedelta(minutes=5)
"""How long no heartbeat arrives from any environment before an incident opens: all machines may be down."""
HISTORY_DAYS = 14
HISTORY_MB = 256
"""In units of 2^20 bytes."""

UPTIME_WINDOW = timedelta(days=7)
"""The age at which watched time weighs 1/e in a row's uptime."""
UPTIME_KNOWN_AFTER = timedelta(hours=48)
"""Watched time before which a row's uptime says nothing."""
UPTIME_OUTAGE_AT_MOST = timedelta(hours=12)
"""The longest part of an outage that counts: a server that was down for three days stays permanent."""
PERMANENT_SHARE = 0.90
"""Least uptime of a permanent row. In simulations, 85 % lets jobs of 12 hours in, and 92 % misses servers with two
outages of 10 hours a week."""
UPTIME_REFRESHED = timedelta(minutes=10)
"""How old a row's uptime becomes while the state stays the same."""
UPTIME_FORGOTTEN_AFTER = timedelta(days=14)
"""Watched time after which the uptime of a row that is no longer listed is forgotten."""
FIRST_CONNECTED_FOR = timedelta(hours=24)
"""How long a row of the first listing must have been connected to count before the uptime is known."""

BELL_EVERY = timedelta(seconds=10)
DEATH_WITHIN = 2 * HEARTBEAT_EVERY
"""A machine dies at most this long after the last heartbeat, if at most one ping was missed."""
BACK_AFTER = timedelta(seconds=60)
"""How long a row must be up again before the loss is over."""
LONG_AGO = timedelta(hours=24)
"""Age of an earlier run's last look from which a message names the age."""
STORM_FROM = 5
"""This many incidents of a profile in `STORM_WINDOW` are a storm."""
STORM_WINDOW = timedelta(minutes=10)
STORM_EVERY = timedelta(minutes=1)
"""Time between two incidents in a storm; each incident holds all waiting losses."""
MOST_LOSSES_WAITING = 1_000
"""Losses of a profile that are compared with each other; more losses are one incident."""
MOST_INCIDENTS_OPEN = 1_000
"""Open incidents of a profile; beyond that the oldest resolves."""
LEDGER_KEPT = timedelta(days=7)
"""How long the ledger keeps the announcements of an incident after the last one."""
SILENCE_CLOCK_SLACK = timedelta(minutes=5)
"""How far this machine's clock may be set back behind the begin of a silence that still counts."""
LONGEST_SILENCE = timedelta(days=365)
SILENCES_MERGE_FOR = timedelta(days=7)
"""How long silences that touch are one: after this time, a loss counts from the end of the present silence."""
ZONES_APART = timedelta(hours=26)
"""Greatest difference between two zones' clocks."""
LONGEST_WATCH = timedelta(days=365)
"""How long a command may watch or wait."""

POLL_SPREAD = 0.1
"""Share of the interval by which polls come early or late: in step with the heartbeats, a listing that shifts
during its walk would lack the same rows each time."""

BACKOFF_BASE = timedelta(seconds=1)
"""The longest wait after the first failure; each further failure doubles the wait."""
BACKOFF_CAP = timedelta(seconds=15)
"""The longest wait after a failure, so that the screen is right again within 20 s of the server's recovery."""
LONG_BACKOFF_CAP = timedelta(seconds=60)
"""The longest wait while the server reports overload, or after a long outage."""
LONG_OUTAGE = timedelta(minutes=5)
RETRY_AFTER_CAP = timedelta(seconds=600)
LISTING_AGE_CAP = timedelta(days=1)
"""The greatest age of a served listing that is believed."""
FORCED_EVERY = timedelta(seconds=1)
"""Shortest time between two polls on request."""
WALK_PENALTY_CAP = timedelta(seconds=60)
"""The longest wait for the pages of a failed walk."""
UNAUTHORIZED_RECHECK = timedelta(seconds=30)
"""Wait after the first 401; later waits are `Limits.refused_recheck`."""
FORBIDDEN_RECHECK = timedelta(minutes=15)
"""Wait after a 403: plans and rights change seldom."""

SLOW_PAGE = timedelta(seconds=2)
"""Time for one page from which `doctor` warns: after 8 such pages the data is stale."""
CERTIFICATE_WARN_FROM = timedelta(days=7)
"""Time to a certificate's end from which `doctor` warns: by then a renewal has failed."""

CONNECT_TIMEOUT = timedelta(seconds=5)
READ_TIMEOUT = timedelta(seconds=10)
ACK_DEADLINE = timedelta(seconds=10)
"""Longest time to send an acknowledgement to `envwatch serve`, with the answer."""
PAGE_BYTES = 8 * 1024 * 1024
"""Most bytes of an inflated page."""
WALK_GROWTH = 3
"""A walk may read at most this many times the pages of the last complete walk."""
WALK_GROWTH_AT_LEAST = 20
"""A walk may always read this many pages more than the last complete walk."""
ENDLESS_WALKS = 5
"""Endless walks in a row before a walk without that limit: the fleet may have grown."""
PAGE_EVERY = timedelta(milliseconds=5)
"""Time between pages beyond the burst: at most 200 requests a second."""
ROW_BYTES = 256 * 1024
"""Most bytes of a row as JSON with cut texts; a usual row has 2,000."""
SETTINGS_BYTES = 1 << 20
"""Most bytes of a settings file; a hundred profiles take 20 KiB."""
CERTIFICATES_BYTES = 16 << 20
"""Most bytes of a certificate file; Mozilla's certificates take 0.3 MiB."""
BAD_ROWS_SHARE = 0.10
"""Share of unusable rows above which the listing is rejected, because the format has changed."""

HOOK_TIME = timedelta(seconds=30)
"""How long a hook may run."""
HOOK_QUEUE = 100
"""Event messages that wait for a hook; further event messages are dropped and counted. No incident is dropped."""
HOOK_OUTPUT_BYTES = 64 * 1024
"""Output of a hook's command, after which it is ended."""
HOOK_TRIED_FOR = timedelta(minutes=30)
"""How long a failing hook's message is tried, except the opening of an open incident."""
HOOK_BACKOFF_BASE = timedelta(seconds=1)
HOOK_BACKOFF_CAP = timedelta(minutes=5)
"""The longest rest after a hook's first failure, and after many failures; the bound doubles with each failure."""
HOOK_FAILING_AFTER = timedelta(minutes=10)
"""A hook that fails for this time is reported on the screen, in the log and to the dead man's switch."""
PING_EVERY = timedelta(minutes=1)
"""Shortest time between two pings of a dead man's switch."""
PING_TIME = timedelta(seconds=10)
HOOK_FAREWELL = timedelta(seconds=5)
"""Time for waiting messages when envwatch ends."""


_T = TypeVar("_T")

ADVANCED: Final = "advanced"
"""The part of the configuration file with limits that few people ever change."""


def setting(default: _T, *, example: str, part: str, **scope: Any) -> _T:  # noqa: ANN401 - flags, words and bounds
    """Declare a setting of a profile; its docstring is the help.

    `example` is a value as TOML, for a new configuration file. `part` is a part of the file; see `config/declared.py`.
    `scope` has `bounds` in seconds or as whole numbers, both included; `rule`, an expression over the names of
    `config/validators.py`, if the annotation has no rule; `option` if the command line has the setting; `demo` if the
    demo takes the setting from file and variables; `place_of`, the word for a value whose place two settings can name.
    """
    return field(default=default, metadata={"example": example, "part": part, **scope})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that a user may set."""

    # The official client: `now - lastHeartbeat < 120 000 ms`.
    online_for: timedelta = setting(timedelta(seconds=120), bounds=(10, 3600), example='"2m"', part=ADVANCED)
    """Age of the heartbeat from which an environment is offline."""
    # Healthy ages are 0-30 s, so a ping was missed.
    late_after: timedelta = setting(timedelta(seconds=45), bounds=(5, 3600), example='"45s"', part=ADVANCED)
    """Age of the heartbeat from which an environment is late; shorter than `online_for`."""
    interval: timedelta = setting(
        timedelta(seconds=5), bounds=(1, 600), example='"10s"', part="usual", option=True, demo=True
    )
    """Time from the start of a poll to the start of the next poll."""
    requests_per_minute: int = setting(60, bounds=(1, 6000), example="60", part=ADVANCED)
    """Request budget. Long listings lengthen the interval to stay within the budget."""
    # No official client asks for more.
    page_size: int = setting(100, bounds=(1, 1000), example="100", part="usual", option=True, demo=True)
    """Rows per request."""
    # httpx's timeouts are per operation, and a dripping server beats them.
    page_deadline: timedelta = setting(timedelta(seconds=10), bounds=(1, 300), example='"10s"', part=ADVANCED)
    """Longest time for one page."""
    walk_deadline: timedelta = setting(timedelta(seconds=30), bounds=(1, 600), example='"30s"', part=ADVANCED)
    """Longest time for one listing; not shorter than `page_deadline`."""
    refused_recheck: timedelta = setting(timedelta(minutes=5), bounds=(30, 3600), example='"5m"', part=ADVANCED)
    """Time between two tries with a key that the server keeps refusing (401)."""
    max_pages: int = setting(2_000, bounds=(1, 100_000), example="2000", part=ADVANCED)
    """Most pages of a listing. A longer listing counts as endless, and the poll fails."""
    max_rows: int = setting(200_000, bounds=(1, 1_000_000), example="200000", part=ADVANCED)
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
