"""Every constant of verdicts, polls and alerts, with its source. `Limits` holds the settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

HEARTBEAT_EVERY = timedelta(seconds=30)
"""Time between a listener's pings (Letta Code CLI 0.32-0.34)."""

LISTINGS_TO_GONE = 2
"""Successive listings without a row before the row is gone: a single listing may shift during the walk."""

ABSENCE_QUESTIONS = 10
"""Most requests of a poll for single rows, including the route's proof."""
ABSENCE_TRIES = 3
"""Inconclusive requests before envwatch gives up: for a row, or for the route."""
ABSENCE_LISTINGS = 10
"""Listings without a row before the requests for the row end."""

MARK_DURATION = timedelta(minutes=15)
"""How long a row keeps a change's tag."""
GONE_IS_PROBLEM_FOR = MARK_DURATION
MISSING_AFTER = timedelta(minutes=15)
RESTART_MEMORY = timedelta(minutes=15)
"""A shorter gap between two runs is ignored: all changes are marked, and no notice names the gap."""
GONE_KEPT = timedelta(hours=1)
"""How long a gone environment is shown and recognised."""

REPLACEMENT_TOLERANCE = timedelta(seconds=5)
"""A replacement may appear this long before the old row's last sign of life: the server notes disconnect and new row in
any order."""
REPLACEMENT_ROWS = 100
"""Most rows of a surface on a device for a replacement: many machines share an image's device id."""

OLD_AFTER = timedelta(hours=24)
"""Time offline before an environment is old."""

EVENTS_KEPT = 10_000
"""Newest events that a dashboard keeps, group members counted: 5 to 10 MiB."""

HEADLINE_STANDS = timedelta(seconds=60)
"""How long a severe event other than a loss stays in the news line."""

CLOCK_SAMPLES = 12
"""Responses whose `Date` bounds are intersected."""
CLOCK_WARN_FROM = timedelta(seconds=5)
"""Offset to the server's clock before the screen warns."""
SKEW_TOLERANCE = timedelta(seconds=30)
"""Allowed difference between a heartbeat's age by the server's clock and by the listings."""

EARLIEST_MS = datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000
"""Earliest possible instant, in ms since the epoch: Letta is younger."""
MOST_AHEAD = timedelta(days=1)
"""Latest possible instant, as time ahead of the server's clock."""
SIGN_OF_LIFE = timedelta(seconds=15)
"""Least advance of a heartbeat as a sign of life: two replicas may round differently."""
SAME_CONNECTION_WITHIN = timedelta(seconds=1)
"""Values of `connectedAt` nearer than this are the same instant."""

SLEPT_FROM = timedelta(seconds=5)
"""A larger drift between wall and monotonic clock means a sleep or a set clock."""
SLEPT_TICKS = 3
"""A wait that overran by more intervals means a stopped process."""

STALE_AT_LEAST = timedelta(seconds=15)
BLIND_AT_LEAST = timedelta(seconds=60)
STALE_INTERVALS = 3
"""Least age of stale or blind data in poll intervals."""

MASS_COUNT = 10
MASS_MIN = 3
MASS_SHARE = 0.55
"""A mass change is `MASS_COUNT` events of a kind, or `MASS_MIN` losses or reconnects and this share of the online
rows."""

ANOMALY_MIN = 3
"""Least rows for an anomaly: fewer emptied, vanished or silent rows are normal."""
LOST_BEATS_SHARE = 0.20
"""A listing is quarantined if a larger share of the rows loses `lastHeartbeat` and keeps `connectionId`."""
VANISHED_SHARE = 0.20
"""Absences are quarantined if a larger share of the rows vanishes in a listing, unconfirmed."""
ANOMALY_POLLS = 3
ANOMALY_AFTER = timedelta(seconds=60)
"""An anomaly is believed after `ANOMALY_POLLS` successive listings over at least this time."""
STALL_ROWS = 10
"""Least online rows for a stall: fewer standing heartbeats prove nothing."""
STALL_AFTER = timedelta(seconds=60)
"""Time without any advancing heartbeat before a stall: two periods."""

# The rule is Nagios' flap detection; see `fleet/tracking.py`.
FLAP_SAMPLES = 21
FLAP_EVERY = timedelta(seconds=30)
FLAP_LOW_WEIGHT = 0.75
FLAP_HIGH_WEIGHT = 1.25
FLAP_ON = 30.0
FLAP_OFF = 20.0
"""Weighted percentages of changes at which flapping begins and ends."""

CHURN_WINDOW = timedelta(hours=1)

ALERT_AFTER = timedelta(minutes=4)
"""Default of the setting: most upgrades and deploys take less."""
LISTED_AS_LOST_FOR = timedelta(seconds=60)
"""Listed time before a loss counts: machines reconnect within a minute after a platform's outage."""
LISTED_AS_LOST_SHARE = 0.25
"""The same time as a share of a short `alert_after`."""
SLOW_INTERVAL = timedelta(seconds=30)
SLOW_WAIT = timedelta(seconds=290)
"""Longest silence plus interval if the interval is over `SLOW_INTERVAL`: a person knows within 5 minutes."""
ONE_MESSAGE_FROM = timedelta(minutes=3)
"""Least `alert_after` with one message for an outage."""
DEMO_ALERT_AFTER = timedelta(seconds=10)
BLIND_AFTER = timedelta(minutes=15)
"""Default time of blindness before an incident."""
STALL_ALERT_AFTER = timedelta(minutes=5)
"""Time of a stall before an incident: all machines may be down."""
HISTORY_DAYS = 14
HISTORY_MB = 256
"""Size in units of 2^20 bytes."""

UPTIME_WINDOW = timedelta(days=7)
"""Age of watched time with the weight 1/e in a row's uptime."""
UPTIME_KNOWN_AFTER = timedelta(hours=48)
"""Watched time before a row's uptime decides."""
UPTIME_OUTAGE_AT_MOST = timedelta(hours=12)
"""Longest counted part of an outage: a server stays permanent after three days down."""
PERMANENT_SHARE = 0.90
"""Least uptime of a permanent row. In simulations, 85 % admits jobs of 12 hours, and 92 % misses servers with two
outages of 10 hours a week."""
UPTIME_REFRESHED = timedelta(minutes=10)
"""Greatest age of a row's uptime in an unchanged state."""
UPTIME_FORGOTTEN_AFTER = timedelta(days=14)
"""Watched time before the uptime of an unlisted row is forgotten."""
FIRST_CONNECTED_FOR = timedelta(hours=24)
"""Rows of the first listing that were connected this long count before the uptime is known."""

BELL_EVERY = timedelta(seconds=10)
DEATH_WITHIN = 2 * HEARTBEAT_EVERY
"""Longest time from the last heartbeat to a machine's death, if at most a single ping was missed."""
BACK_AFTER = timedelta(seconds=60)
"""Time up again before a loss is over."""
LONG_AGO = timedelta(hours=24)
"""Messages name the age of an earlier run's last look if older."""
STORM_FROM = 5
STORM_WINDOW = timedelta(minutes=10)
"""A storm is `STORM_FROM` incidents of a profile in `STORM_WINDOW`."""
STORM_EVERY = timedelta(minutes=1)
"""Time between incidents in a storm; each incident holds all waiting losses."""
MOST_LOSSES_WAITING = 1_000
"""More waiting losses of a profile are one incident."""
MOST_INCIDENTS_OPEN = 1_000
"""Most open incidents of a profile; beyond, the oldest resolves."""
LEDGER_KEPT = timedelta(days=7)
"""How long the ledger keeps an incident after the last announcement."""
SILENCE_CLOCK_SLACK = timedelta(minutes=5)
"""How far this machine's clock may be set back behind the start of a silence in force."""
LONGEST_SILENCE = timedelta(days=365)
SILENCES_MERGE_FOR = timedelta(days=7)
"""How long touching silences count as a single silence; then a loss counts from the present silence's end."""
ZONES_APART = timedelta(hours=26)
"""Greatest difference between two zones' clocks."""
LONGEST_WATCH = timedelta(days=365)

POLL_SPREAD = 0.1
"""Jitter of polls as a share of the interval: polls in step with the heartbeats would always miss the same rows of
shifting listings."""

BACKOFF_BASE = timedelta(seconds=1)
"""Longest wait after the first failure; each further failure doubles the bound."""
BACKOFF_CAP = timedelta(seconds=15)
"""Longest wait after any failure: the screen is right within 20 s of the server's recovery."""
LONG_BACKOFF_CAP = timedelta(seconds=60)
"""Longest wait during an overload, or after `LONG_OUTAGE`."""
LONG_OUTAGE = timedelta(minutes=5)
RETRY_AFTER_CAP = timedelta(seconds=600)
LISTING_AGE_CAP = timedelta(days=1)
"""Greatest believed age of a served listing."""
FORCED_EVERY = timedelta(seconds=1)
"""Shortest time between two polls on request."""
WALK_PENALTY_CAP = timedelta(seconds=60)
"""Longest wait for the request budget after a failed walk."""
UNAUTHORIZED_RECHECK = timedelta(seconds=30)
"""Wait after the first 401; later waits are `Limits.refused_recheck`."""
FORBIDDEN_RECHECK = timedelta(minutes=15)
"""Wait after a 403: plans and rights change seldom."""

SLOW_PAGE = timedelta(seconds=2)
"""`doctor` warns of a page this slow: after 8 such pages the data is stale."""
CERTIFICATE_WARN_FROM = timedelta(days=7)
"""`doctor` warns this long before a certificate's end: by then a renewal has failed."""

CONNECT_TIMEOUT = timedelta(seconds=5)
READ_TIMEOUT = timedelta(seconds=10)
ACK_DEADLINE = timedelta(seconds=10)
PAGE_BYTES = 8 * 1024 * 1024
"""Most bytes of an inflated page."""
WALK_GROWTH = 3
WALK_GROWTH_AT_LEAST = 20
"""A walk may read `WALK_GROWTH` times the pages of the last complete walk, and always `WALK_GROWTH_AT_LEAST` more."""
ENDLESS_WALKS = 5
"""Successive endless walks before a walk without this limit: the fleet may have grown."""
PAGE_EVERY = timedelta(milliseconds=5)
"""Time between pages beyond the burst: at most 200 requests a second."""
ROW_BYTES = 256 * 1024
"""Most bytes of a row as JSON with cut texts; a usual row has 2,000."""
SETTINGS_BYTES = 1 << 20
"""Most bytes of a settings file; a hundred profiles take 20 KiB."""
CERTIFICATES_BYTES = 16 << 20
"""Most bytes of a certificate file; Mozilla's certificates take 0.3 MiB."""
BAD_ROWS_SHARE = 0.10
"""A listing with a larger share of unusable rows is rejected: the format has changed."""

HOOK_TIME = timedelta(seconds=30)
"""How long a hook may run."""
HOOK_QUEUE = 100
"""Most waiting event messages of a hook; incidents are never dropped."""
HOOK_OUTPUT_BYTES = 64 * 1024
"""A command with more output is ended."""
HOOK_TRIED_FOR = timedelta(minutes=30)
"""How long a failing hook's message is tried, except the opening of an open incident."""
HOOK_BACKOFF_BASE = timedelta(seconds=1)
HOOK_BACKOFF_CAP = timedelta(minutes=5)
"""Longest rests after a hook's first failure and after many failures; each failure doubles the bound."""
HOOK_FAILING_AFTER = timedelta(minutes=10)
"""Time of failures before screen, log and dead man's switch report a hook."""
PING_EVERY = timedelta(minutes=1)
"""Shortest time between two pings of a dead man's switch."""
PING_TIME = timedelta(seconds=10)
HOOK_FAREWELL = timedelta(seconds=5)
"""Time for waiting messages when envwatch ends."""


_T = TypeVar("_T")

ADVANCED: Final = "advanced"
"""The configuration file's part for seldom changed limits."""


def setting(default: _T, about: str, *, example: str, part: str, **scope: Any) -> _T:  # noqa: ANN401 - flags, words and bounds
    """Declare a setting of a profile; `about` is the help.

    `example` is a TOML value for a new file, `part` a part of the file (`config/declared.py`). `scope` may have
    `bounds`, inclusive, in seconds or whole numbers; `option` for the command line; `demo` if the demo reads file and
    variables; `place_of`, the word for a value whose place two settings name.
    """
    return field(default=default, metadata={"about": about, "example": example, "part": part, **scope})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of polls. A user may set those with `setting`; the others have a value that fits any fleet."""

    # The official client: `now - lastHeartbeat < 120 000 ms`.
    online_for: timedelta = setting(
        timedelta(seconds=120),
        "Age of the heartbeat from which a machine is off.",
        bounds=(10, 3600),
        example='"2m"',
        part=ADVANCED,
    )
    # Healthy ages are 0-30 s, so a ping was missed.
    late_after: timedelta = setting(
        timedelta(seconds=45),
        "Age of the heartbeat from which a machine is late; shorter than `online_for`.",
        bounds=(5, 3600),
        example='"45s"',
        part=ADVANCED,
    )
    interval: timedelta = setting(
        timedelta(seconds=5),
        "Time from the start of a poll to the start of the next poll.",
        bounds=(1, 600),
        example='"10s"',
        part="usual",
        option=True,
        demo=True,
    )
    requests_per_minute: int = setting(
        60,
        "Request budget. A long list of machines lengthens the interval to stay within the budget.",
        bounds=(1, 6000),
        example="60",
        part=ADVANCED,
    )
    # No official client asks for more.
    page_size: int = setting(
        100, "Machines per request.", bounds=(1, 1000), example="100", part="usual", option=True, demo=True
    )
    # httpx's timeouts are per operation, and a dripping server beats them.
    page_deadline: timedelta = setting(
        timedelta(seconds=10), "Longest time for one page.", bounds=(1, 300), example='"10s"', part=ADVANCED
    )
    walk_deadline: timedelta = setting(
        timedelta(seconds=30),
        "Longest time for a whole poll; not shorter than `page_deadline`.",
        bounds=(1, 600),
        example='"30s"',
        part=ADVANCED,
    )
    refused_recheck: timedelta = timedelta(minutes=5)
    """Time between two tries with a key that the server keeps refusing (401)."""
    max_pages: int = 2_000
    """Most pages of a listing. A longer listing counts as endless, and the poll fails."""
    max_rows: int = 200_000
    """Most rows of a listing. A longer listing counts as endless, and the poll fails."""

    def budgeted(self, requests: int) -> timedelta:
        """Return the request budget's time for `requests`."""
        return timedelta(minutes=1) * requests / self.requests_per_minute

    def pace(self, requests: int, took: timedelta) -> timedelta:
        """Return the time between polls for a listing's requests and duration; ticks during a poll are skipped."""
        tick = max(self.interval, self.budgeted(requests))
        return tick * max(math.ceil(took / tick), 1)


SETTABLE: Final = tuple(each for each in fields(Limits) if each.metadata)
"""The limits that a user may set."""
