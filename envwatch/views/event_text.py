"""The wording of each event and its glyph in the log, and the message of a table without rows.

Pure. Text that is composed of cleaned text is clean.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import Presence
from envwatch.model.modes import UNRESTRICTED
from envwatch.model.text import Clean
from envwatch.model.times import NOTHING, clock_text, long_age
from envwatch.views.state_style import StateStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from envwatch.fleet.fleets import Fleets
    from envwatch.views.table_view import View

_KIND_GLYPHS = {
    Kind.ONLINE: ("●", "+", "online"),
    Kind.RETURNED: ("●", "+", "online"),
    Kind.APPEARED: ("●", "+", "online"),
    Kind.OFFLINE: ("○", "x", "offline"),
    Kind.GONE: ("·", "-", "gone"),
    Kind.RECONNECTED: ("↻", "r", "online"),
    Kind.RESTARTED: ("↻", "R", "online"),
    Kind.MODE: ("△", "!", "plain"),
    Kind.FLAPPING: ("≈", "w", "flapping"),
    Kind.STEADY: ("●", "+", "online"),
    Kind.WHILE_BLIND: ("?", "?", "unknown"),
    Kind.HELD: ("?", "?", "unknown"),
    Kind.STALLED: ("?", "?", "unknown"),
    Kind.RESUMED: ("●", "+", "online"),
}


def event_style(event: Event) -> StateStyle:
    """Return the glyph and colour of an event in the log."""
    kind = event.of if event.of is not None else event.kind
    glyph, ascii_glyph, style = _KIND_GLYPHS.get(kind, ("~", "~", "plain"))
    if kind is Kind.APPEARED and event.after == Presence.OFFLINE.value:
        glyph, ascii_glyph, style = _KIND_GLYPHS[Kind.OFFLINE]
    if kind is Kind.MODE and event.after == UNRESTRICTED:
        style = "unrestricted"
    return StateStyle(glyph, ascii_glyph, Clean(kind.value), style)


def _with_reason(text: str, event: Event) -> str:
    return f"{text} · {event.reason}" if event.reason else text


def _presence_text(event: Event) -> str:
    lasted = long_age(event.lasted) if event.lasted is not None else None
    match event.kind:
        case Kind.ONLINE:
            return "back online" + (f" after {lasted}" if lasted else "")
        case Kind.OFFLINE:
            return _with_reason("went offline", event) + (f" · was on for {lasted}" if lasted else "")
        case Kind.GONE:
            return _with_reason("gone", event)
        case Kind.RETURNED:
            return f"listed again, {event.after}" + (f" after {lasted}" if lasted else "")
        case _:
            return _with_reason(f"appeared, {event.after}", event)


_GROUP_VERBS = {
    Kind.OFFLINE: "went offline together",
    Kind.ONLINE: "came back together",
    Kind.GONE: "gone together",
    Kind.APPEARED: "appeared together",
    Kind.RECONNECTED: "reconnected together",
    Kind.RESTARTED: "restarted together",
    Kind.RETURNED: "listed again together",
}

_BLIND_SUMMARY = {Kind.OFFLINE: "went offline", Kind.GONE: "gone", Kind.ONLINE: "back online"}
"""The kinds that are counted separately after a blind period, in this order."""


def _change_text(event: Event) -> str:
    warning = " !" if event.kind is Kind.MODE and event.after == UNRESTRICTED else ""
    return f"{event.field} {event.before or NOTHING} → {event.after or NOTHING}{warning}"


def _group_text(event: Event) -> str:
    verb = _GROUP_VERBS.get(event.of, f"changed together: {event.of}") if event.of else "together"
    return f"{len(event.members)} {verb}" + (f": all {event.reason}" if event.reason else "")


_SENTENCES: Mapping[Kind, Callable[[Event], str]] = {
    **dict.fromkeys((Kind.ONLINE, Kind.OFFLINE, Kind.GONE, Kind.RETURNED, Kind.APPEARED), _presence_text),
    **dict.fromkeys((Kind.MODE, Kind.VERSION, Kind.BRANCH, Kind.CHANGED), _change_text),
    Kind.RECONNECTED: lambda _: "reconnected · new connection, never seen offline",
    Kind.RESTARTED: lambda _: "restarted · new listener, never seen offline",
    Kind.RENAMED: lambda event: f"renamed · was {event.before}",
    Kind.FLAPPING: lambda _: "flapping: it keeps coming and going",
    Kind.STEADY: lambda _: "steady again",
    Kind.TOGETHER: _group_text,
    Kind.HELD: lambda event: f"not believed yet: {event.reason}",
    Kind.STALLED: lambda _: "upstream heartbeats stalled: no heartbeat of any row advances",
    Kind.RESUMED: lambda _: "upstream heartbeats advance again",
}


def event_text(event: Event, zone: tzinfo | None = None) -> Clean:
    """Return what happened, without time and name: `went offline · heartbeat lost (121 s)`.

    Args:
        event: a single event or a group.
        zone: in which instants are shown; None for the local one.
    """
    if event.kind is Kind.WHILE_BLIND:
        since = clock_text(event.since, zone) if event.since is not None else NOTHING
        counts = Counter(member.kind for member in event.members)
        summary = "".join(f" · {counts[kind]} {verb}" for kind, verb in _BLIND_SUMMARY.items() if counts[kind])
        return Clean(f"{len(event.members)} changed while blind{summary} ({since} to {clock_text(event.at, zone)})")
    return Clean(_SENTENCES[event.kind](event))


def empty_table_text(fleets: Fleets, view: View) -> Clean:
    """Return why the table has no rows, and what to do about it."""
    if not fleets.is_listed:
        failure = next((fleet.failure for fleet in fleets if fleet.failure is not None), None)
        if failure is None:
            return Clean("Asking for the first listing.")
        return Clean(f"No listing yet: {failure.message} (r tries again now, q quits)")
    if view.compares:
        return Clean("Nothing differs from the baseline. = shows everything again, m marks a new one.")
    if view.is_narrowed and len(fleets):
        needs_profile = view.query.demands("profile") and not fleets.are_several
        reason = ": only one profile is watched, and its rows have no profile name" if needs_profile else ""
        return Clean(f"Nothing matches{reason}. esc clears the filter, 0 resets the view.")
    return Clean("No environments. Run `letta server` on a machine, and it appears here.")
