"""The words on the screen: glyphs of states, durations, instants, and values without a name.

Pure: the moment is an argument. Knows nothing of widgets or colours. Whatever it puts together from cleaned text is
clean.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING

from envwatch.presence import Presence, span
from envwatch.text import Clean, shortened
from envwatch.zones import in_zone

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import JsonValue

    from envwatch.fleet import Fleet
    from envwatch.watch import Watch

NOTHING = Clean("–")
IMPOSSIBLE = Clean("before 2020, or more than a day ahead")
"""Which instants cannot be true, see `plausible`."""

MS = timedelta(milliseconds=1)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class TimeStyle(StrEnum):
    """How instants are shown."""

    RELATIVE = "relative"
    LOCAL = "local"
    UTC = "UTC"

    @property
    def following(self) -> TimeStyle:
        """The next style in turn."""
        styles = list(TimeStyle)
        return styles[(styles.index(self) + 1) % len(styles)]


@dataclass(frozen=True, slots=True)
class Face:
    """A state shown three ways: a glyph and a word here, a colour by its name in the stylesheet."""

    glyph: str
    ascii: str
    word: Clean
    style: str


_FACES = {
    Presence.ONLINE: Face("●", "+", Clean("on"), "online"),
    Presence.LATE: Face("◐", "~", Clean("late"), "late"),
    Presence.OFFLINE: Face("○", "x", Clean("off"), "offline"),
    Presence.GONE: Face("·", "-", Clean("gone"), "gone"),
}


def face_of(watch: Watch, *, is_unknown: bool) -> Face:
    """Return how a state looks: by an impossible time before blindness, then doubt, flapping, and its presence."""
    face = _FACES[watch.presence]
    if watch.is_untimed:
        return Face("?", "?", Clean("clk?"), "unknown")
    if is_unknown:
        return Face("?", "?", face.word, "unknown")
    if watch.is_doubted:
        return Face(face.glyph, face.ascii, Clean("clk?"), "unknown")
    if watch.is_flapping:
        return Face(face.glyph, face.ascii, Clean("flap"), "flapping")
    return face


def glyph_of(presence: Presence, *, ascii_only: bool) -> str:
    """Return the glyph of a presence."""
    return _FACES[presence].ascii if ascii_only else _FACES[presence].glyph


_STILL_SECONDS = 120
"""Below this a heartbeat's age decides, and is told to the second."""


def short_age(age: timedelta | None) -> Clean:
    """Return a duration in at most four cells: `12s`, `119s`, `4m`, `26h`, `40d`, `3y`."""
    if age is None:
        return NOTHING
    seconds = int(age.total_seconds())
    for limit, unit, name in ((_STILL_SECONDS, 1, "s"), (100 * _MINUTE, _MINUTE, "m"), (100 * _HOUR, _HOUR, "h")):
        if seconds < limit:
            return Clean(f"{seconds // unit}{name}")
    days = seconds // _DAY
    return Clean(f"{days}d" if days < 1000 else f"{min(days // 365, 999)}y")


def minutes_age(age: timedelta) -> Clean:
    """Return a duration like `short_age`, but in no less than whole minutes, which seldom change: `<1m`, `1m`."""
    minutes = int(age.total_seconds()) // _MINUTE
    return Clean(f"{minutes}m" if minutes else "<1m") if minutes < 2 else short_age(age)


def long_age(age: timedelta | None) -> Clean:
    """Return a duration in its two largest units: `4m 12s`, `3d 4h`."""
    if age is None:
        return NOTHING
    seconds = int(age.total_seconds())
    units = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m"), (1, "s"))
    for index, (unit, name) in enumerate(units):
        if seconds >= unit:
            rest = ""
            if index + 1 < len(units):
                smaller, smaller_name = units[index + 1]
                count = seconds % unit // smaller
                rest = f" {count}{smaller_name}" if count else ""
            return Clean(f"{seconds // unit}{name}{rest}")
    return Clean("0s")


def moment(at: float | None, zone: tzinfo | None) -> datetime | None:
    """Return an instant in milliseconds as a date in a zone, None for the local one; None where no calendar holds it.

    A zone whose offset is impossible reads as UTC.
    """
    if at is None:
        return None
    try:
        return in_zone(datetime.fromtimestamp(at / 1000, UTC), zone)
    except (ValueError, OverflowError, OSError):
        return None


def date_warning(fleet: Fleet) -> Clean | None:
    """Return what is wrong with the server's `Date`; None where it is believed."""
    if fleet.date_error is None:
        return None
    whose = "what it was" if fleet.clock.is_known else "this machine's clock, and contradicts every heartbeat"
    return Clean(f"the server's Date is {_ahead_or_behind(fleet.date_error)} {whose}")


def clock_warning(fleet: Fleet) -> Clean | None:
    """Return what a person should know of the clocks that ages are judged by; None where they agree within 5 s."""
    if (warning := date_warning(fleet)) is not None:
        return Clean(f"{warning}: not believed")
    if not fleet.clock.is_far_off:
        return None
    return Clean(
        f"this machine's clock is {_ahead_or_behind(-fleet.clock.offset)} the server's; ages are by the server's"
    )


def _ahead_or_behind(error: float) -> str:
    return f"{long_age(span(abs(error)))} {'ahead of' if error > 0 else 'behind'}"


def offset_text(when: datetime) -> str:
    """Return a zone's offset as short as it can be: `Z`, `+01`, `+05:30`."""
    offset = when.utcoffset() or timedelta()
    if not offset:
        return "Z"
    minutes = int(offset / timedelta(minutes=1))
    sign = "+" if minutes > 0 else "-"
    hours, minutes = divmod(abs(minutes), 60)
    return f"{sign}{hours:02}" + (f":{minutes:02}" if minutes else "")


def clock_text(at: float, zone: tzinfo | None) -> Clean:
    """Return the time of day with its offset: `13:41:07+01`."""
    when = moment(at, zone)
    return Clean(f"{when:%H:%M:%S}{offset_text(when)}") if when else NOTHING


def date_text(at: float | None, zone: tzinfo | None) -> Clean:
    """Return date and time with the offset: `2026-10-04 13:41:07+01`."""
    when = moment(at, zone)
    return Clean(f"{when:%Y-%m-%d %H:%M:%S}{offset_text(when)}") if when else NOTHING


def json_text(value: JsonValue) -> Clean:
    """Return a value that nobody knows by name: a text as it is, anything else as JSON."""
    return Clean(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))


_IDS_NAMED = 3
_ID_CELLS = 40
"""A UUID behind a word."""


def named_ids(ids: Collection[Clean], count: int) -> Clean:
    """Return the first ids of some rows, in brackets behind a space, and how many rows more there are.

    Args:
        ids: those that are known; nothing is said if there are none.
        count: how many rows there are, those without a known id included.
    """
    named = [shortened(id_, _ID_CELLS, keep="ends") for id_ in sorted(ids)[:_IDS_NAMED]]
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return Clean(f" ({', '.join(named)}{more})" if named else "")
