"""The limits: a page of the documentation names the number, or the number's reason stands here."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.documents import page

from envwatch.model import limits
from envwatch.model.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

S, MIN, H, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PERCENT: Final = 0.01
KIB, MIB = 1024, 1024 * 1024
WORDS: Final = {3: "three", 5: "five"}

DOCUMENTED: Final = (
    ("HEARTBEAT_EVERY", S, "states.md", "listeners ping every {} s"),
    ("MISSING_AFTER", MIN, "states.md", "or gone for over {} minutes"),
    ("FLAP_ON", 1, "states.md", "about {} % of the last 20 half minutes had a change"),
    ("SKEW_TOLERANCE", S, "states.md", "A `Date` that jumps by over {} s is rejected"),
    ("CLOCK_WARN_FROM", S, "states.md", "this machine's clock offset from {} s on"),
    ("ANOMALY_POLLS", 1, "states.md", "only after {word} equal answers in a row"),
    ("ANOMALY_AFTER", S, "states.md", "equal answers in a row over {} s"),
    ("ANOMALY_MIN", 1, "states.md", "over a fifth of the machines (at least {word})"),
    ("ABSENCE_QUESTIONS", 1, "states.md", "one by one, at most {} per poll"),
    ("POLL_SPREAD", PERCENT, "states.md", "Polls come up to {} % early or late"),
    ("STALE_AT_LEAST", S, "states.md", "stale {} s after the newest answer"),
    ("BLIND_AT_LEAST", S, "states.md", "BLIND after {} s"),
    ("STALE_INTERVALS", 1, "states.md", "never before {word} intervals"),
    ("ROW_BYTES", KIB, "states.md", "over {} KiB) are set aside"),
    ("BAD_ROWS_SHARE", PERCENT, "states.md", "With over {} % of them, the poll fails"),
    ("BACKOFF_CAP", S, "states.md", "The next try comes within {} s"),
    ("LONG_OUTAGE", MIN, "states.md", "the outage has lasted over {} minutes"),
    ("RETRY_AFTER_CAP", MIN, "states.md", "obeys `Retry-After` up to {} minutes"),
    ("UNAUTHORIZED_RECHECK", S, "states.md", "After a refused key (401) the next try comes after {} s"),
    ("FORBIDDEN_RECHECK", MIN, "states.md", "may not list machines (403), the next try comes after {} minutes"),
    ("WALK_GROWTH", 1, "states.md", "over {word} times the pages of the last good one"),
    ("WALK_GROWTH_AT_LEAST", 1, "states.md", "(at least {} more)"),
    ("ENDLESS_WALKS", 1, "states.md", "After {word} such answers in a row"),
    ("MARK_DURATION", MIN, "states.md", "a bar at the left edge for {} minutes"),
    ("OLD_AFTER", H, "states.md", "off for over {} hours"),
    ("GONE_IS_PROBLEM_FOR", MIN, "states.md", "not listed for {} minutes or more"),
    ("REPLACEMENT_TOLERANCE", S, "states.md", "last sign of life, or up to {} s before"),
    ("REPLACEMENT_ROWS", 1, "states.md", "Over {} machines on one device"),
    ("PERMANENT_SHARE", PERCENT, "on-call.md", "up for at least {} % of the last 7 watched days"),
    ("UPTIME_WINDOW", DAY, "on-call.md", "of the last {} watched days"),
    ("UPTIME_KNOWN_AFTER", H, "on-call.md", "Until a machine has been watched for {} hours"),
    ("UPTIME_OUTAGE_AT_MOST", H, "on-call.md", "only once it is over, and counts as {} hours at most"),
    ("FIRST_CONNECTED_FOR", H, "on-call.md", "if the first recorded answer had it, connected for {} hours"),
    ("ALERT_AFTER", MIN, "on-call.md", "for `alert_after` ({} minutes)"),
    ("LISTED_AS_LOST_FOR", S, "on-call.md", "and off in the server's answers for {} s"),
    ("SLOW_INTERVAL", S, "on-call.md", "If polls are over {} s apart"),
    ("SLOW_WAIT", S, "on-call.md", "the interval together are at most {} s"),
    ("ONE_MESSAGE_FROM", MIN, "on-call.md", "under {} minutes, one outage may be several messages"),
    ("STORM_FROM", 1, "on-call.md", "after {} incidents in 10 minutes"),
    ("STORM_WINDOW", MIN, "on-call.md", "after 5 incidents in {} minutes"),
    ("BLIND_AFTER", MIN, "on-call.md", "for `blind_after` ({} minutes)"),
    ("STALL_ROWS", 1, "on-call.md", "(if {} or more are on) opens one incident"),
    ("STALL_ALERT_AFTER", MIN, "on-call.md", "opens one incident after {} minutes"),
    ("BACK_AFTER", S, "on-call.md", "**Back** means {} s on"),
    ("HOOK_TIME", S, "without-a-screen.md", "A message takes {} s at most"),
    ("HOOK_BACKOFF_BASE", S, "without-a-screen.md", "rests for a random time, {} s at most"),
    ("HOOK_BACKOFF_CAP", MIN, "without-a-screen.md", "doubles with each failure, up to {} minutes"),
    ("HOOK_TRIED_FOR", MIN, "without-a-screen.md", "any other event for {} minutes"),
    ("HOOK_QUEUE", 1, "without-a-screen.md", "{} events wait for each hook"),
    ("HOOK_FAILING_AFTER", MIN, "without-a-screen.md", "have lasted {} minutes"),
    ("HISTORY_DAYS", 1, "configuration.md", "in addition to today. Default: `{}`"),
    ("HISTORY_MB", 1, "configuration.md", "The oldest days are deleted first. Default: `{}`"),
)
"""Limit, unit, page, and the page's sentence with the number."""

UNDOCUMENTED: Final[Mapping[str, object]] = {
    # Facts of the platform, and of rules that other programs publish.
    "EARLIEST_MS": datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000,
    "DEATH_WITHIN": 2 * limits.HEARTBEAT_EVERY,
    "STALL_AFTER": 2 * limits.HEARTBEAT_EVERY,
    "FLAP_SAMPLES": 20 + 1,
    "FLAP_EVERY": MIN / 2,
    "FLAP_LOW_WEIGHT": 3 / 4,
    "FLAP_HIGH_WEIGHT": 5 / 4,
    "FLAP_OFF": 20.0,
    "ZONES_APART": 26 * H,
    # Tolerances.
    "MOST_AHEAD": DAY,
    "SIGN_OF_LIFE": limits.HEARTBEAT_EVERY / 2,
    "SAME_CONNECTION_WITHIN": S,
    "SLEPT_FROM": 5 * S,
    "SLEPT_TICKS": 3,
    "SILENCE_CLOCK_SLACK": 5 * MIN,
    "LISTING_AGE_CAP": DAY,
    # Answers that are believed after a second look.
    "LISTINGS_TO_GONE": 2,
    "ABSENCE_TRIES": 3,
    "ABSENCE_LISTINGS": 10,
    "VANISHED_SHARE": 1 / 5,
    "LOST_BEATS_SHARE": 1 / 5,
    "CLOCK_SAMPLES": MIN / Limits().interval,
    # Changes of many rows at once.
    "MASS_COUNT": 10,
    "MASS_MIN": 3,
    "MASS_SHARE": 0.55,
    # How long a person sees a row, a mark or a line.
    "GONE_KEPT": H,
    "RESTART_MEMORY": limits.MARK_DURATION,
    "HEADLINE_STANDS": MIN,
    "CHURN_WINDOW": H,
    "BELL_EVERY": 10 * S,
    "LONG_AGO": DAY,
    "DEMO_ALERT_AFTER": 10 * S,
    # Waiting losses and incidents.
    "LISTED_AS_LOST_SHARE": 1 / 4,
    "STORM_EVERY": MIN,
    "MOST_LOSSES_WAITING": 1_000,
    "MOST_INCIDENTS_OPEN": 1_000,
    "LEDGER_KEPT": 7 * DAY,
    "UPTIME_REFRESHED": 10 * MIN,
    "UPTIME_FORGOTTEN_AFTER": 2 * limits.UPTIME_WINDOW,
    "LONGEST_SILENCE": 365 * DAY,
    "SILENCES_MERGE_FOR": 7 * DAY,
    "LONGEST_WATCH": 365 * DAY,
    # Waits for the server.
    "BACKOFF_BASE": S,
    "LONG_BACKOFF_CAP": MIN,
    "FORCED_EVERY": S,
    "WALK_PENALTY_CAP": MIN,
    "SLOW_PAGE": 2 * S,
    "CERTIFICATE_WARN_FROM": 7 * DAY,
    "CONNECT_TIMEOUT": 5 * S,
    "READ_TIMEOUT": Limits().page_deadline,
    "ACK_DEADLINE": 10 * S,
    "PAGE_EVERY": S / 200,
    # Sizes that a hostile peer cannot exceed.
    "EVENTS_KEPT": 10_000,
    "PAGE_BYTES": 8 * MIB,
    "SETTINGS_BYTES": MIB,
    "CERTIFICATES_BYTES": 16 * MIB,
    "HOOK_OUTPUT_BYTES": 64 * KIB,
    # The dead man's switch, and the end of envwatch.
    "PING_EVERY": MIN,
    "PING_TIME": 10 * S,
    "HOOK_FAREWELL": 5 * S,
}


@pytest.mark.parametrize(("name", "unit", "document", "sentence"), DOCUMENTED)
def test_the_documentation_names_the_limit(name: str, unit: Any, document: str, sentence: str) -> None:
    number = getattr(limits, name) / unit
    stated = sentence.format(f"{number:g}", word=WORDS.get(number))
    assert stated in " ".join(page(document).split())


@pytest.mark.parametrize("name", UNDOCUMENTED)
def test_a_limit_without_a_sentence_in_the_documentation_has_a_known_number(name: str) -> None:
    assert getattr(limits, name) == UNDOCUMENTED[name]


def test_every_limit_has_a_sentence_or_a_known_number() -> None:
    names = {
        name for name, value in vars(limits).items() if name.isupper() and isinstance(value, int | float | timedelta)
    }
    assert names == {name for name, *_ in DOCUMENTED} | UNDOCUMENTED.keys()


@pytest.mark.parametrize(
    ("name", "default", "least", "most"),
    [
        ("online_for", 2 * MIN, 10 * S, H),
        ("late_after", 45 * S, 5 * S, H),
        ("interval", 5 * S, S, 10 * MIN),
        ("requests_per_minute", 60, 1, 6_000),
        ("page_size", 100, 1, 1_000),
        ("page_deadline", 10 * S, S, 5 * MIN),
        ("walk_deadline", 30 * S, S, 10 * MIN),
    ],
)
def test_a_setting_has_a_default_and_bounds(name: str, default: object, least: object, most: object) -> None:
    (declared,) = [each for each in fields(Limits) if each.name == name]
    bounds = [number * S if isinstance(default, timedelta) else number for number in declared.metadata["bounds"]]
    assert (declared.default, bounds) == (default, [least, most])


@pytest.mark.parametrize(
    ("requests", "per_minute", "time_s"), [(0, 60, 0), (1, 60, 1), (10, 60, 10), (100, 600, 10), (3, 1, 180)]
)
def test_requests_take_their_share_of_the_budget(requests: int, per_minute: int, time_s: float) -> None:
    assert Limits(requests_per_minute=per_minute).budgeted(requests) == time_s * S


@pytest.mark.parametrize(
    ("requests", "took_s", "pace_s"),
    [(1, 0, 5), (5, 0, 5), (6, 0, 6), (1, 5, 5), (1, 5.001, 10), (1, 10, 10), (1, 10.001, 15), (6, 6.001, 12)],
)
def test_a_poll_skips_the_ticks_of_its_own_duration_within_the_budget(
    requests: int, took_s: float, pace_s: float
) -> None:
    assert Limits().pace(requests, took_s * S) == pace_s * S
