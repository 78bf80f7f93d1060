"""The texts and glyphs of events, and the messages of an empty log or table."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from envwatch.alerts.losses import LOSSES, key_of
from envwatch.fleet.events import ENDS, NOT_RUNNING, Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.model.environment import UNRESTRICTED
from envwatch.model.outcome import Cause
from envwatch.model.text import SafeText, cells, clean, composed, enumerated, shortened
from envwatch.model.times import NOTHING, clock_text, date_text, long_age, moment, span
from envwatch.query.state_looks import FLAPPING_GLYPHS, StateStyle
from envwatch.views.state_style import instant_text, lasted_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import timedelta, tzinfo

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.profile_state import Fleet
    from envwatch.model.clock import Clocks
    from envwatch.views.table.block import Block
    from envwatch.views.table.table_view import View

_UP, _DOWN, _UNKNOWN = ("●", "+", "online"), ("○", "x", "offline"), ("?", "?", "unknown")
_KIND_GLYPHS = {
    **dict.fromkeys((Kind.ONLINE, Kind.RETURNED, Kind.APPEARED, Kind.STEADY, *ENDS.values()), _UP),
    **dict.fromkeys((Kind.OFFLINE, Kind.NOT_BACK), _DOWN),
    **dict.fromkeys((Kind.WHILE_BLIND, Kind.HELD, Kind.STALLED, Kind.CLOCK_WRONG, Kind.BLIND, Kind.SLEPT), _UNKNOWN),
    **dict.fromkeys((Kind.FAILING, Kind.KEY_REFUSED), ("?", "?", "late")),
    Kind.GONE: ("·", "-", "offline"),
    Kind.RECONNECTED: ("↻", "r", "online"),
    Kind.RESTARTED: ("↻", "R", "online"),
    Kind.MODE: ("△", "!", "plain"),
    Kind.FLAPPING: (*FLAPPING_GLYPHS, "flapping"),
    Kind.RELEASED: ("!", "!", "plain"),
    Kind.PAGES: ("◉", "@", "plain"),
    Kind.DOES_NOT_PAGE: ("◌", "%", "plain"),
    Kind.ACKNOWLEDGED: ("✓", "v", "plain"),
    Kind.ACK_ENDED: ("!", "!", "plain"),
    Kind.NOTICE: ("!", "!", "late"),
}


def event_style(event: Event, block: Block | None = None) -> StateStyle:
    """Return an event's glyph and colour.

    With a block, a loss is coloured only while a person is needed.
    """
    look = _event_style(event)
    if look.style != "offline" or block is None:
        return look
    is_open = any(each.at >= block.open_since.get(key_of(each), inf) for each in flatten([event]))
    return look if is_open else look._replace(style="gone")


def _event_style(event: Event) -> StateStyle:
    kind = event.of if event.of is not None else event.kind
    glyph, ascii_glyph, style = _KIND_GLYPHS.get(kind, ("~", "~", "plain"))
    if kind is Kind.APPEARED and event.after == Presence.OFFLINE.value:
        glyph, ascii_glyph, style = _DOWN
    if kind is Kind.MODE and event.after == UNRESTRICTED:
        style = "unrestricted"
    if event.reason == NOT_RUNNING and event.members:
        styles = {_event_style(member).style for member in event.members}
        glyph, ascii_glyph, style = _DOWN if "offline" in styles else ("~", "~", "plain")
    return StateStyle(glyph, ascii_glyph, clean(kind.value), style)


def _with_reason(text: str, event: Event) -> str:
    return f"{text} · {event.reason}" if event.reason else text


VERBS: Final[Mapping[Kind, str]] = {
    Kind.OFFLINE: "went offline",
    Kind.ONLINE: "came back",
    Kind.GONE: "gone",
    Kind.NOT_BACK: "not back",
    Kind.APPEARED: "appeared",
    Kind.RECONNECTED: "reconnected",
    Kind.RESTARTED: "restarted",
    Kind.RETURNED: "listed again",
    Kind.RENAMED: "renamed",
    Kind.FLAPPING: "flapping",
    Kind.STEADY: "steady again",
    Kind.PAGES: "page from now on",
    Kind.DOES_NOT_PAGE: "no longer page",
    Kind.ACKNOWLEDGED: "acknowledged",
    Kind.ACK_ENDED: "no longer acknowledged",
}

_OF_PEOPLE: Final = frozenset({Kind.ACKNOWLEDGED, Kind.ACK_ENDED})

_NAMES_SHOWN = 8

_NAME_CELLS = 24
"""Two names fit into a line of 80 cells."""

_BLIND_SUMMARY: Final = (Kind.OFFLINE, Kind.GONE, Kind.ONLINE)


_RUN_SUMMARY: Mapping[str | None, str] = {
    Kind.OFFLINE: "offline",
    Kind.GONE: "gone",
    UNRESTRICTED: "unrestricted",
    Kind.ONLINE: "back",
    Kind.RETURNED: "back",
    Kind.APPEARED: "new",
    Kind.MODE: "modes",
    Kind.VERSION: "versions",
    Kind.RESTARTED: "restarted",
    Kind.RECONNECTED: "reconnected",
    None: "other changes",
}
"""The summary has this order."""


def _change_text(event: Event) -> str:
    warning = " !" if event.kind is Kind.MODE and event.after == UNRESTRICTED else ""
    return f"{event.field} {event.before or NOTHING} → {event.after or NOTHING}{warning}"


def event_names_text(events: Sequence[Event], most: int = _NAMES_SHOWN) -> str:
    """Return the first names of events, and a count."""
    first = (event.name or event.id or NOTHING for event in events[:most])
    return enumerated([shortened(name, _NAME_CELLS, keep="ends") for name in first], len(events))


def _group_text(event: Event, names: int) -> str:
    is_together = event.kind is Kind.TOGETHER
    kind, how = event.of or event.kind, " together" if is_together and names else ""
    # Losses without an incident need no person. The block, messages and `check` do not count these losses.
    open_losses = [member for member in event.members if member.incident is not None] if kind in LOSSES else []
    members = open_losses or event.members
    verb = VERBS.get(kind)
    changes = {(member.field or kind, member.after) for member in members}
    field, after = changes.pop() if len(changes) == 1 else (kind, None)
    to = f" → {after}" if after else ""
    what = f"{len(members):,} {verb}{how}" if verb else f"{len(members):,} changed{how}: {field}{to}"
    if event.kind is Kind.NOT_BACK and event.reason:
        what = f"{len(members):,} {event.reason}"
    if rest := len(event.members) - len(members):
        what += f" (+{rest:,} not paging)"
    if is_together and event.reason:
        return f"{what}: all {event.reason}"
    what = f"{what}: {event_names_text(members, names)}" if names else what
    return _with_reason(what, event) if event.kind in _OF_PEOPLE else what


def _after(event: Event, what: str) -> str:
    return _with_reason(what + lasted_text(event, " after"), event)


_SENTENCES: Mapping[Kind, Callable[[Event], str | tuple[str, ...]]] = {
    Kind.ONLINE: lambda event: ("back online" + lasted_text(event, " after"), "back online"),
    Kind.OFFLINE: lambda event: (
        _with_reason("went offline", event) + lasted_text(event, " · was on for"),
        _with_reason("went offline", event),
        "went offline",
    ),
    Kind.GONE: lambda event: _with_reason("gone", event),
    Kind.NOT_BACK: lambda event: event.reason or "not back",
    Kind.RETURNED: lambda event: f"listed again, {event.after}" + lasted_text(event, " after"),
    Kind.APPEARED: lambda event: _with_reason(f"appeared, {event.after}", event),
    **dict.fromkeys((Kind.MODE, Kind.VERSION, Kind.BRANCH, Kind.CHANGED), _change_text),
    Kind.RECONNECTED: lambda _: (
        "reconnected · new connection, never seen offline",
        "reconnected · new connection",
        "reconnected",
    ),
    Kind.RESTARTED: lambda _: ("restarted · new listener, never seen offline", "restarted · new listener", "restarted"),
    Kind.RENAMED: lambda event: f"renamed {event.before or NOTHING} → {event.after or event.name or NOTHING}",
    Kind.FLAPPING: lambda _: "flapping: it keeps coming and going",
    Kind.STEADY: lambda _: "steady again",
    Kind.HELD: lambda event: f"not believed yet: {event.reason}",
    Kind.RESUMED: lambda event: _after(event, "the heartbeats of the platform advance again"),
    Kind.RELEASED: lambda event: _after(event, "hold ended"),
    Kind.FAILING: lambda event: _with_reason("polls fail", event),
    Kind.REACHED: lambda event: _after(event, "polls succeed again"),
    Kind.KEY_REFUSED: lambda event: _with_reason("key refused", event),
    Kind.KEY_ACCEPTED: lambda event: _after(event, "key accepted"),
    Kind.CLOCK_WRONG: lambda event: event.reason or NOTHING,
    Kind.CLOCK_RIGHT: lambda _: ("clocks and heartbeats agree again", "clocks agree again"),
    Kind.PAGES: lambda event: (f"pages from now on: {event.reason or NOTHING}", "pages from now on"),
    Kind.DOES_NOT_PAGE: lambda event: (
        f"no longer pages: {event.reason or NOTHING}; `A` changes that",
        f"no longer pages: {event.reason or NOTHING}",
        "no longer pages",
    ),
    Kind.ACKNOWLEDGED: lambda event: (f"acknowledged {event.reason}", "acknowledged"),
    Kind.ACK_ENDED: lambda event: (f"no longer acknowledged · {event.reason}", "no longer acknowledged"),
    Kind.NOTICE: lambda event: event.reason or NOTHING,
}
"""Shorter sentences for narrow lines follow the whole sentence."""


def _while_blind_text(event: Event, since: str, until: str) -> str:
    if event.reason == NOT_RUNNING and event.since is not None:
        lasted = long_age(span(event.at - event.since))
        if not event.members:
            return f"nothing was recorded for {lasted} ({since} to {until})"
        return f"in {lasted} since the last run: {_run_summary(event.members)}"
    counts = Counter(member.kind for member in event.members)
    summary = "".join(f" · {counts[kind]:,} {VERBS[kind]}" for kind in _BLIND_SUMMARY if counts[kind])
    return f"{len(event.members):,} changed while blind{summary} ({since} to {until})"


def unchanged_text(profile: SafeText, lasted: timedelta) -> SafeText:
    """Return the sentence for no change since the last run."""
    return composed(f"{profile and f'{profile}: '}nothing changed since the last run, {long_age(lasted)} ago")


def _run_summary(members: Sequence[Event]) -> str:
    counts = Counter(_summary_word(member) for member in members)
    found = [(counts[word], word) for word in dict.fromkeys(_RUN_SUMMARY.values()) if counts[word]]
    return ", ".join(f"{count:,} {word if count > 1 else word.removesuffix('s')}" for count, word in found)


def _summary_word(member: Event) -> str:
    is_unrestricted = member.kind is Kind.MODE and member.after == UNRESTRICTED
    return _RUN_SUMMARY.get(UNRESTRICTED if is_unrestricted else member.kind, _RUN_SUMMARY[None])


_TIMED_SENTENCES: Mapping[Kind, Callable[[Event, str, str], str]] = {
    Kind.BLIND: lambda event, since, _: _with_reason(f"blind: no data since {since}", event),
    Kind.VISIBLE: lambda event, since, until: (
        f"data again: was blind for {long_age(event.lasted)} ({since} to {until})"
    ),
    Kind.SLEPT: lambda event, since, until: (
        f"this machine slept for {long_age(event.lasted)} ({since} to {until}), nothing was seen"
    ),
    Kind.STALLED: lambda _, since, __: f"the heartbeats of the platform stand still: none has advanced since {since}",
    Kind.WHILE_BLIND: _while_blind_text,
}
"""The arguments are the event, the period's begin, and the end or the time of notice."""


def event_text(event: Event, zone: tzinfo | None = None) -> SafeText:
    """Return an event's sentence, without time and name."""
    return next(_forms(event, zone))


def fitting_text(event: Event, zone: tzinfo | None, room: int) -> SafeText:
    """Return the longest form of a sentence within `room` cells, or the whole sentence if no form fits."""
    return next((text for text in _forms(event, zone) if cells(text) <= room), event_text(event, zone))


def _forms(event: Event, zone: tzinfo | None) -> Iterator[SafeText]:
    if (timed := _TIMED_SENTENCES.get(event.kind)) is not None:
        since = clock_text(event.since, zone) if event.since is not None else NOTHING
        yield composed(timed(event, since, clock_text(event.at, zone)))
    elif event.members or event.kind is Kind.TOGETHER:
        yield from (composed(_group_text(event, names)) for names in range(_NAMES_SHOWN, -1, -1))
    else:
        forms = _SENTENCES[event.kind](event)
        yield from map(composed, (forms,) if isinstance(forms, str) else forms)


def watched_since(fleet: Fleet, now: Clocks, zone: tzinfo | None) -> SafeText | None:
    """Return the begin of the first profile's watch, if any."""
    began = [(each.began_at, each.clock.server_time(now.wall)) for each in fleet if each.began_at is not None]
    if not began:
        return None
    began_at, present = min(began)
    return clock_text(began_at, zone) if _is_same_day(began_at, present, zone) else date_text(began_at, zone)


def _is_same_day(at: float, now: float, zone: tzinfo | None) -> bool:
    when, present = moment(at, zone), moment(now, zone)
    return when is None or present is None or when.date() == present.date()


def _dated_text(at: float, now: float, zone: tzinfo | None) -> SafeText:
    return instant_text(at, now if _is_same_day(at, now, zone) else inf, zone)


def watched_text(monitor: Monitor, now: Clocks, zone: tzinfo | None) -> SafeText:
    """Return the event log's coverage: begin, unwatched time, dropped events."""
    watched = [each for each in monitor.watched.values() if each.spans]
    if not watched:
        return clean("no answer yet")
    server_now = next(iter(monitor.fleet)).clock.server_time(now.wall)
    since = min(each.spans[0].since for each in watched)
    parts = [f"watched since {_dated_text(since, server_now, zone)}"]
    gaps = [after.since - before.until for each in watched for before, after in pairwise(each.spans)]
    if gaps:
        parts.append(f"{long_age(span(sum(gaps)))} not seen{f' in {len(gaps)} gaps' if len(gaps) > 1 else ''}")
    if any(Kind.BLIND in profile_state.periods for profile_state in monitor.fleet):
        parts.append("blind now")
    if monitor.event_log.cut_at is not None:
        parts.append(f"before {_dated_text(monitor.event_log.cut_at, server_now, zone)} dropped")
    return clean(" · ".join(parts))


def empty_log_text(fleet: Fleet, now: Clocks, zone: tzinfo | None) -> SafeText:
    """Return the message of an empty event log."""
    since = watched_since(fleet, now, zone)
    if since is None:
        return clean("Nothing is known yet. Changes after the first poll appear here.")
    what = "Losses, returns, new modes and versions, blind times"
    return clean(f"Nothing has happened since {since}, the first poll. {what} appear here.")


def _unlisted_text(fleet: Fleet, new_keys_by: Mapping[SafeText, SafeText], *, is_past: bool) -> SafeText:
    failing = next((profile_state for profile_state in fleet if profile_state.failure is not None), None)
    failure = None if failing is None else failing.failure
    if failure is None and is_past:
        return clean("No answer yet at this moment. ] goes on.")
    if failure is None:
        return clean("Asking the server. All machines of this account appear here.")
    what = "The server refused the key" if failure.cause is Cause.UNAUTHORIZED else "No answer yet"
    text = f"{what}: {failure.message.rstrip('.')}{'' if failure.message.endswith('?') else '.'}"
    if is_past:
        return composed(text)
    new_key_by = new_keys_by.get(failing.profile) if failing is not None and failing.is_refused else None
    if new_key_by is not None:
        return composed(f"{text} Quit with q, {new_key_by}, and start envwatch again.")
    wait = "The server asked to wait. Press q to quit." if failure.retry_after else _TRY_AGAIN
    return composed(f"{text} {wait}")


_TRY_AGAIN: Final = "Press r to try again now, or q to quit."


def empty_table_text(  # noqa: PLR0913  the state of the screen
    fleet: Fleet,
    view: View,
    now: Clocks,
    zone: tzinfo | None = None,
    *,
    is_past: bool = False,
    in_block: int = 0,
    has_hint: bool = True,
    new_keys_by: Mapping[SafeText, SafeText] = MappingProxyType({}),
) -> SafeText:
    """Return the message of an empty table.

    `in_block` is the number of the view's rows in the block. `new_keys_by` says how to renew keys of profiles, if only
    a new process can.
    """
    since = watched_since(fleet, now, zone)
    if since is None:
        return _unlisted_text(fleet, new_keys_by, is_past=is_past)
    if in_block:
        what = (
            "Every machine is" if not view.is_narrowed else f"{in_block:,} match{' is' if in_block == 1 else 'es are'}"
        )
        return clean(f"{what} above, among the losses that page.")
    if view.compares:
        marked = f" of {clock_text(view.baseline.marked_at, zone)}" if view.baseline is not None else ""
        return clean(
            f"Nothing differs from the baseline{marked}. Differences appear here. "
            "esc shows everything again, :baseline marks a new baseline."
        )
    if view.is_narrowed and len(fleet):
        from envwatch.query.completion import value_hint  # noqa: PLC0415 - only without a match

        hint = value_hint(view.query, fleet.environments) if has_hint else None
        end = "" if hint is not None and hint.endswith("?") else "."
        what = f"Nothing matches{'' if hint is None else f': {hint}'}{end}"
        return composed(f"{what} esc clears the filter, 0 resets the view.")
    if any(profile_state.last_up is not None for profile_state in fleet):
        return clean(
            f"Every machine is gone: watched since {since}, and the server lists none now. e shows the losses. "
            "A machine that runs `letta server` appears here."
        )
    return clean(f"No machines. Watched since {since}: run `letta server` on a machine to see it here.")
