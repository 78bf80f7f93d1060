"""A group's problems, members and common values, as labelled lines."""

from __future__ import annotations

from collections import Counter
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.model.environment import NEVER
from envwatch.model.text import SafeText, clean, composed, counted, enumerated, shortened
from envwatch.model.times import span, state_age
from envwatch.query.state_looks import PRESENCE_STYLES, glyph_of
from envwatch.views.pane.details import EVENTS
from envwatch.views.pane.layout import DetailLine
from envwatch.views.state_style import Piece
from envwatch.views.table.block_text import member_texts
from envwatch.views.table.table_view import GROUPINGS, id_tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.events import Event, EventLog
    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks

_MAX_LISTED: Final = 8
_MAX_CELLS: Final = 20

_FIELDS: Final = ("mode", "version", "branch", "os", "pod", "user")


def group_headline(environments: Sequence[TrackedEnvironment], *, is_ascii: bool = False) -> list[Piece]:
    """Return the number of members, in all and by presence."""
    pieces = [Piece(counted(len(environments), "machine"), "bold")]
    for presence in Presence:
        if count := sum(tracked.presence is presence for tracked in environments):
            text = f"{glyph_of(presence, ascii_only=is_ascii)} {count:,} {PRESENCE_STYLES[presence].word}"
            pieces += [Piece(clean("·")), Piece(clean(text), PRESENCE_STYLES[presence].style)]
    return pieces


def problem_lines(environments: Sequence[TrackedEnvironment], monitor: Monitor, now: Clocks) -> Iterator[DetailLine]:
    """Yield the members by problem: unknown, not online, flapping, acknowledged."""
    fleet = monitor.fleet
    unknown = sum(fleet.for_environment(tracked).is_unknown(tracked, now) for tracked in environments)
    if unknown:
        yield DetailLine(
            "unknown", clean(f"{unknown:,} of {len(environments):,}: below is what was last seen"), "bold unknown"
        )
    for presence in Presence:
        members = [tracked for tracked in environments if tracked.presence is presence]
        if members and presence is not Presence.ONLINE:
            look = PRESENCE_STYLES[presence]
            yield DetailLine(look.word, _silence_text(members, fleet, now), look.style)
    if flapping := [tracked for tracked in environments if tracked.is_flapping]:
        yield DetailLine("flapping", _names(flapping), "flapping")
    if acked := list(filter(monitor.judge(now).is_acked, environments)):
        yield DetailLine("acked", _names(acked))


def common_lines(environments: Sequence[TrackedEnvironment]) -> tuple[list[DetailLine], list[DetailLine]]:
    """Return the common values, then the values that differ."""
    shared, different = [], []
    for label in _FIELDS:
        counts = Counter(filter(None, map(GROUPINGS[label], environments)))
        without = len(environments) - counts.total()
        if len(counts) == 1 and not without:
            shared.append(DetailLine(label, next(iter(counts))))
        elif counts:
            different.append(DetailLine(label, _counts_text(counts, without=without)))
    return shared, different


def newest_events(environments: Sequence[TrackedEnvironment], event_log: EventLog) -> list[Event]:
    """Return the members' newest events, without groups."""
    events = (event for tracked in environments for event in event_log.for_environment(tracked.key)[-EVENTS:])
    return nlargest(EVENTS, events, key=lambda event: event.at)


def _silence_text(members: list[TrackedEnvironment], fleet: Fleet, now: Clocks) -> SafeText:
    ages = [span(_silence_ends_at(fleet.for_environment(tracked), now) - _silent_since(tracked)) for tracked in members]
    shortest, longest = state_age(min(ages)), state_age(max(ages))
    silent = shortest if shortest == longest else f"{shortest} to {longest}"
    return composed(f"silent for {silent} · {_names(members)}")


def _silent_since(tracked: TrackedEnvironment) -> float:
    seen_at = tracked.environment.last_seen_alive_at
    return tracked.lost_at if seen_at == NEVER else seen_at


def _silence_ends_at(profile_state: ProfileState, now: Clocks) -> float:
    listed = profile_state.listed
    return profile_state.clock.server_time(
        now.wall if listed is None or profile_state.freshness(now) is Freshness.LIVE else listed.wall
    )


def _names(environments: list[TrackedEnvironment]) -> SafeText:
    names = [_short(tracked.environment.label) for tracked in environments[:_MAX_LISTED]]
    return composed(enumerated(names, len(environments)))


def _short(value: SafeText) -> SafeText:
    return shortened(value, _MAX_CELLS, keep="ends")


def _counts_text(counts: Counter[SafeText], *, without: int) -> SafeText:
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    parts = [f"{_short(value)} ×{count:,}" for value, count in ranked[:_MAX_LISTED]]
    if more := len(ranked) - len(parts):
        parts.append(f"{more:,} more")
    if without:
        parts.append(f"none ×{without}")
    return composed(" · ".join(parts))


def member_line(
    tracked: TrackedEnvironment,
    monitor: Monitor,
    now: Clocks,
    *,
    is_ascii: bool,
    ambiguous: frozenset[SafeText] = frozenset(),
) -> DetailLine:
    """Return a member of an incident."""
    look, lasted, cause, acked = member_texts(tracked, monitor.judge(now))
    name = tracked.environment.label
    parts = [composed(name + id_tail(name, tracked.environment.id, ambiguous)), cause, acked]
    lasted = clean("<1m") if lasted.endswith("s") else lasted  # the pane draws members only with a listing
    label = f"{look.ascii if is_ascii else look.glyph} {lasted}"
    return DetailLine(label, composed(" · ".join(filter(None, parts))), look.style if acked is None else "")
