"""Events as lines of text for people and logs: time, what happened, to which environment, and the details.

One event is one line always, because all text in it is cleaned. Columns are aligned, and a long name is not cut: who
searches a log for a name finds it. Pure.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import Event, Kind
from envwatch.model.text import SafeText, cells, clean, composed, counted, fitted
from envwatch.model.times import NOTHING, long_age, moment
from envwatch.views.cloud_events import word_of
from envwatch.views.event_text import event_text, names_text
from envwatch.views.table_view import ambiguous_names, id_tail

if TYPE_CHECKING:
    from datetime import tzinfo

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment

GAP: Final = "  "
"""Between two columns."""
_WORD_CELLS: Final = 11
"""Of `reconnected`, the longest word but some for hours in which nothing was seen."""
_WIDEST_NAME: Final = 40
"""Cells for names at most; a longer one moves the details of its own line."""
_FLEET: Final = clean("-")
"""In place of a name, for what is about the fleet."""
_INITIAL: Final = clean("initial")

_ASCII: Final = {"→": "->", "…": "...", "–": "-", "·": "-"}
"""Characters of our own words."""


class Layout(NamedTuple):
    """The widths of the columns in cells, and which names need a part of their id."""

    name: int
    profile: int = 0
    """0 where only one is watched: then there is no such column."""
    ambiguous: frozenset[SafeText] = frozenset()
    """Names that others share or resemble."""
    zone: tzinfo = UTC
    """Of the times."""

    def named(self, name: SafeText, id_: SafeText) -> SafeText:
        """Return a name that no other environment has."""
        tail = id_tail(name, id_, self.ambiguous)
        return composed(f"{name}{tail}") if tail else name

    def line(self, at: float, word: SafeText, profile: SafeText, name: SafeText, details: SafeText) -> SafeText:
        """Return a line, without its end."""
        when = moment(at, self.zone)
        time = clean(when.isoformat(timespec="seconds").replace("+00:00", "Z")) if when else NOTHING
        columns = [time, _padded(word, _WORD_CELLS)]
        if self.profile:
            columns.append(_padded(profile, self.profile))
        columns += [_padded(name, self.name), details]
        return composed(GAP.join(columns).rstrip(" "))


def layout_of(fleet: Fleet, zone: tzinfo = UTC) -> Layout:
    """Return widths that suit the names of all environments."""
    # One environment under two profiles is no pair of twins.
    named = {(tracked.environment.id, tracked.environment.label) for tracked in fleet.environments}
    ambiguous = ambiguous_names(Counter(label for _, label in named))
    profile = max(map(cells, fleet.by_profile), default=0) if fleet.are_several else 0
    layout = Layout(1, profile, ambiguous, zone)
    widest = max((cells(layout.named(label, id_)) for id_, label in named), default=1)
    if len(named) > 1:
        widest = max(widest, cells(counted(len(named), "environment")))  # in place of a name, for a group
    return layout._replace(name=min(widest, _WIDEST_NAME))


def event_line(event: Event, layout: Layout) -> SafeText:
    """Return an event as a line, without its end."""
    if event.members:
        name = counted(len(event.members), "environment")
    else:
        name = _FLEET if event.id is None else layout.named(event.name or event.id, event.id)
    return layout.line(event.at, word_of(event), event.profile, name, _details(event, layout.zone))


def initial_line(tracked: TrackedEnvironment, at: float, layout: Layout, *, is_unknown: bool) -> SafeText:
    """Return an environment as it is when watching begins, at a moment of the server's clock in ms."""
    state = "unknown" if is_unknown else tracked.presence
    reason = "" if tracked.verdict.is_up or is_unknown else f", {tracked.reason}"
    name = layout.named(tracked.environment.label, tracked.environment.id)
    return layout.line(at, _INITIAL, tracked.profile, name, clean(f"{state}{reason}"))


def encoded(line: str, encoding: str, *, ascii_only: bool) -> bytes:
    r"""Return a line with its end as bytes; characters that the encoding lacks are written as `\x…`."""
    if ascii_only:
        for character, plain in _ASCII.items():
            line = line.replace(character, plain)
        encoding = "ascii"
    return f"{line}\n".encode(encoding, "backslashreplace")


def _padded(text: SafeText, width: int) -> SafeText:
    return fitted(text, max(width, cells(text)))


def _details(event: Event, zone: tzinfo) -> SafeText:
    """Return what the columns before do not say."""
    lasted = None if event.lasted is None else long_age(event.lasted)
    parts: list[str | None]
    match None if event.members else event.kind:
        case Kind.OFFLINE:
            parts = [event.reason, lasted and f"was on for {lasted}"]
        case Kind.ONLINE:
            parts = [lasted and f"was off for {lasted}"]
        case Kind.RETURNED:
            parts = [event.after, lasted and f"was gone for {lasted}"]
        case Kind.APPEARED:
            parts = [event.after, event.reason]
        case Kind.GONE | Kind.MISSING:
            parts = [event.reason]
        case Kind.RECONNECTED:
            parts = ["new connection, never seen offline"]
        case Kind.RESTARTED:
            parts = ["new listener, never seen offline"]
        case _:
            parts = [_without_kind(event_text(event, zone).replace(" · ", ", "), event)]
    return composed(", ".join(part for part in parts if part))


def _without_kind(text: str, event: Event) -> str:
    """Return the sentence of an event without the kind and the number of members, which other columns say."""
    if event.kind is Kind.TOGETHER:
        return f"together, {f'all {event.reason}' if event.reason else names_text(event.members)}"
    if event.members and event.kind is not Kind.WHILE_BLIND:
        return names_text(event.members)
    kinds = (f"{len(event.members)} changed while blind", event.kind.value, word_of(event))
    said = next((kind for kind in kinds if text.startswith(kind)), "")
    return text.removeprefix(said).lstrip(":, ")
