"""An environment's state in the detail pane, now and in the last 24 hours.

Durations seldom change, so that rows are seldom drawn again.
"""

from __future__ import annotations

from datetime import timedelta, tzinfo
from itertools import groupby
from math import ceil
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from envwatch.alerts.alert_policy import decision_sentence
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.plausibility import IMPOSSIBLE
from envwatch.fleet.presence import NEVER_LISTED, Presence, Reason, heartbeat_age
from envwatch.fleet.problems import state_began_at
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.fleet.watched_time import Outage, outages
from envwatch.history.hours import Availability, availability_text, worst_states
from envwatch.model import limits
from envwatch.model.clock import Clocks, ServerMs
from envwatch.model.shared_marks import shared_silence_of
from envwatch.model.text import SafeText, clean, composed, counted
from envwatch.model.times import DAY_MS, long_age, minutes_age, short_age, span, state_age
from envwatch.query.state_looks import HOUR_GLYPHS, countdown_text, hour_marks, hours_text, style_of
from envwatch.views.pane.layout import DetailLine, PaneLayout, Row
from envwatch.views.state_style import (
    FAINT,
    Piece,
    clock_text_of,
    flapping_text,
    instant_text,
    last_text,
    lasted_text,
    marked_text,
    not_back_text,
    silence_text,
    silenced_until_text,
    state_word,
    until_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.fleet.watched_time import Interval
    from envwatch.query.presentation import RowContext


_PING_REASONS: Final = frozenset({Reason.BEATING, Reason.MISSED, Reason.HEARTBEAT_LOST})
_OF_PRESENCE: Final = frozenset({Kind.APPEARED, Kind.ONLINE, Kind.OFFLINE, Kind.GONE, Kind.RETURNED})
_AT_LEAST: Final = timedelta(hours=1)
"""The strip needs this much known time."""
_GAP_AT_LEAST: Final = timedelta(minutes=1)
"""Shorter unwatched times within an outage are not mentioned."""


def state_headline(
    tracked: TrackedEnvironment,
    profile_state: ProfileState,
    own_events: Sequence[Event],
    now: Clocks,
    *,
    is_ascii: bool = False,
) -> list[Piece]:
    """Return state, duration and cause: `○ OFF for 8s · disconnected · was on for 2m 10s`.

    `own_events` are oldest first, without groups.
    """
    is_unknown = profile_state.is_unknown(tracked, now)
    look = style_of(tracked, is_unknown=is_unknown)
    lasted = _lasted(tracked, profile_state, now)
    duration = "" if lasted is None else f" for {state_age(lasted)}"
    text = f"{look.ascii if is_ascii else look.glyph} {state_word(tracked, is_unknown=is_unknown).upper()}{duration}"
    causes = (Piece(composed(f"· {cause}")) for cause in filter(None, _causes(tracked, profile_state, own_events, now)))
    return [Piece(clean(text), f"bold {look.style}"), *causes]


def _lasted(tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks) -> timedelta | None:
    if profile_state.is_unknown(tracked, now):
        return profile_state.age(now) if profile_state.freshness(now) is Freshness.BLIND else None
    began_at = state_began_at(tracked, profile_state.limits)
    return None if began_at is None else span(profile_state.clock.server_time(now.wall) - began_at)


def _causes(
    tracked: TrackedEnvironment, profile_state: ProfileState, own_events: Sequence[Event], now: Clocks
) -> Iterator[SafeText | None]:
    if profile_state.is_unknown(tracked, now):
        yield last_text(tracked)
    elif tracked.verdict.is_up:
        yield _heartbeat_text(tracked, profile_state, now)
    else:
        yield tracked.reason
        last = next((event for event in reversed(own_events) if event.kind in _OF_PRESENCE), None)
        if last is not None and last.kind is Kind.OFFLINE:
            yield clean(lasted_text(last, "was on for"))
    yield clean("clock?") if tracked.clock_suspect else None
    yield flapping_text(tracked)


def _heartbeat_text(tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks) -> SafeText | None:
    age = heartbeat_age(tracked.environment, profile_state.clock.server_time(now.wall))
    if age is None or tracked.clock_suspect or not _silence_counts(profile_state, now):
        return None
    if tracked.presence is Presence.ONLINE:
        return clean(f"beat {short_age(age)} ago")
    return countdown_text((profile_state.limits.online_for - age).total_seconds())


def _silence_counts(profile_state: ProfileState, now: Clocks) -> bool:
    return profile_state.freshness(now) is Freshness.LIVE and profile_state.stall_detector.beats_count


def missed_beats(tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks) -> tuple[int, int] | None:
    """Return how many missed pings mean offline, and how many are missed.

    The result is None if the verdict does not rest on pings, or if silence proves nothing.
    """
    if (
        profile_state.listed is None
        or not _silence_counts(profile_state, now)
        or tracked.verdict.reason not in _PING_REASONS
    ):
        return None
    age = heartbeat_age(tracked.environment, profile_state.clock.server_time(profile_state.listed.wall))
    if age is None:
        return None
    limit = int(profile_state.limits.online_for / limits.HEARTBEAT_EVERY)
    return limit, min(int(age / limits.HEARTBEAT_EVERY), limit)


def proof(tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks, zone: tzinfo | None) -> SafeText:
    """Return the proof of the verdict, and the age of an old listing."""
    server_now = profile_state.clock.server_time(now.wall)
    sign = f"last sign of life {instant_text(tracked.environment.last_seen_alive_at, server_now, zone)}"
    if tracked.verdict == NEVER_LISTED:
        text = "expected by the configuration, but its name and device id are in no complete poll"
    elif tracked.verdict.is_absent:
        text = f"absent from {tracked.absent} complete polls in a row · {sign}"
    elif profile_state.is_unreadable(tracked):
        text = "its newest data cannot be read: this is the last verdict"
    elif not tracked.environment.connection_id:
        since = "" if tracked.since_at is None else f" since {instant_text(tracked.since_at, server_now, zone)}"
        text = f"no live connection{since} · {sign}"
    elif tracked.has_impossible_time:
        text = f"{Reason.UNTIMED}: {IMPOSSIBLE}"
    else:
        text = _proof_by_heartbeat(tracked, profile_state, now, zone)
    is_old = profile_state.listed is not None and profile_state.freshness(now) is not Freshness.LIVE
    return composed(f"{text} · no answer for {state_age(profile_state.age(now))}" if is_old else text)


def _proof_by_heartbeat(
    tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks, zone: tzinfo | None
) -> str:
    environment, server_now = tracked.environment, profile_state.clock.server_time(now.wall)
    if environment.last_heartbeat_at is None:
        return "connected, without a heartbeat"
    if tracked.verdict.is_up and not profile_state.stall_detector.beats_count:
        return "connected · the platform sends no new heartbeats: silence proves nothing"
    if tracked.clock_suspect and profile_state.date_error is None:
        still = span(tracked.skew_check.least_age_ms(now.monotonic))
        return f"clocks contradict: the verdict uses a heartbeat age of at least {state_age(still)}"
    beat = instant_text(environment.last_heartbeat_at, server_now, zone)
    limit = f"{profile_state.limits.online_for.total_seconds():.0f} s"
    if tracked.verdict.reason is Reason.HEARTBEAT_LOST:
        return f"connected, but no heartbeat since {beat} · the limit is {limit}"
    if tracked.presence is Presence.LATE and (pings := missed_beats(tracked, profile_state, now)) is not None:
        total, missed = pings
        if missed:
            return f"last heartbeat {beat} · {missed} of {total} pings missed · the limit is {limit}"
    connected_at = environment.connected_at
    since = "" if connected_at is None else f" since {instant_text(connected_at, server_now, zone)}"
    return f"connected{since} · last heartbeat {beat}"


def mark_lines(tracked: TrackedEnvironment, context: RowContext) -> Iterator[DetailLine]:
    """Yield the doubt about the clock, the acknowledgement and the silence."""
    _, judge, profile_state, at, *_ = context
    ack, silenced = judge.ack_of(tracked), judge.silenced(tracked)
    if (text := clock_text_of(tracked, profile_state)) is not None:
        yield DetailLine("clock", text, "late")
    if ack is not None:
        age, zone = span(at - ack.at), judge.policy_of(tracked.profile).zone
        when = "just now" if age < timedelta(minutes=1) else f"{minutes_age(age)} ago"
        end = "" if ack.until is None else f", {until_text(ack.until, at, zone)}"
        by, note = f"by {ack.by}" if ack.by else "on this machine", f": {ack.note}" if ack.note else ""
        yield DetailLine("acked", composed(f"{when} {by}{end}{note}"))
    if silenced is not None:
        until = silence_text(silenced, judge, tracked.profile).removeprefix("silenced ")
        yield DetailLine("silenced", composed(until))
    elif (text := not_back_text(tracked, judge)) is not None:
        yield DetailLine("silenced", composed(f"the silence is over: {text}"))
    if silenced is None and (shared := shared_silence_of(tracked.environment, judge.now.wall)) is not None:
        until = silenced_until_text(shared.until, judge.now.wall, judge.policy_of(tracked.profile).zone)
        yield DetailLine("shared", marked_text(until, shared.by, shared.note))


def alert_lines(tracked: TrackedEnvironment, context: RowContext, zone: tzinfo | None) -> Iterator[DetailLine]:
    """Yield whether a machine pages, and why."""
    yield DetailLine("alerts", decision_sentence(context.judge.decision_of(tracked), tracked, zone))


def availability_of_row(tracked: TrackedEnvironment, context: RowContext) -> SafeText | None:
    """Return the availability in the last 24 hours, or None if known for less than a minute."""
    return availability_text(Availability.from_intervals(_last_day(tracked, context)))


def last_day_rows(
    tracked: TrackedEnvironment, context: RowContext, zone: tzinfo | None, layout: PaneLayout
) -> list[Row]:
    """Return a strip as wide as the pane, hour marks, and a sentence; empty for too little watched time."""
    intervals = _last_day(tracked, context)
    availability = Availability.from_intervals(intervals)
    if availability.known < _AT_LEAST:
        return []
    cell_ms = DAY_MS / max(layout.width - 1, 1)  # one cell more shows the whole day
    begin = ServerMs((ceil(context.at / cell_ms) - layout.width) * cell_ms)
    states = context.monitor.states_of(tracked, begin, context.now)
    glyphs = hours_text(worst_states(states, begin, cell_ms, layout.width), ascii_only=layout.is_ascii)
    strip = [Piece(composed("".join(alike)), style) for style, alike in groupby(glyphs, HOUR_GLYPHS.__getitem__)]
    words = [availability_text(availability), *_outage_texts(outages(intervals), context.at, zone)]
    sentence = composed(" · ".join(filter(None, words)))
    return [tuple(strip), (Piece(hour_marks(layout.width), FAINT),), *layout.sentence([Piece(sentence)])]


def _last_day(tracked: TrackedEnvironment, context: RowContext) -> tuple[Interval, ...]:
    return context.monitor.states_of(tracked, ServerMs(context.at - DAY_MS), context.now)


def _outage_texts(found: Sequence[Outage], now: float, zone: tzinfo | None) -> Iterator[SafeText]:
    if not found:
        return
    longest = max(found, key=attrgetter("down"))
    since, until = (instant_text(at, now, zone) for at in (longest.since, longest.until))
    start = f"before {since}" if longest.began_before else since
    when = f"from {start} to {until}" if longest.is_over else f"since {start}"
    many = f"{counted(len(found), 'outage')}{', the longest' if len(found) > 1 else ''}"
    # The headline counts from the loss, the outage only the watched time.
    lasted = f"{long_age(longest.down)}{' watched,' if longest.began_before else ''}"
    yield clean(f"{many}: {lasted} {when}")
    if longest.unseen >= _GAP_AT_LEAST:
        yield clean(f"{long_age(longest.unseen)} of the outage not watched")
    if longest.reason:
        yield longest.reason
