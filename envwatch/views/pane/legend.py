"""The legend of the help."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import TABLE_TAGS, ChangeTag
from envwatch.fleet.watched_time import UptimeState
from envwatch.model import limits
from envwatch.model.environment import NEVER
from envwatch.model.text import clean
from envwatch.model.times import long_age
from envwatch.query.state_looks import CLOCK_SUSPECT, FLAPPING, HOUR_STYLES, PRESENCE_STYLES, UNKNOWN, StateStyle
from envwatch.views.events.day_line import MARKER
from envwatch.views.events.event_text import event_style
from envwatch.views.table.block import Aside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from envwatch.model.limits import Limits


class LegendEntry(NamedTuple):
    """A sign and the meaning."""

    sign: str
    style: str
    meaning: str


_UNKNOWN: Final = clean("unknown")
TAGS_LAST: Final = long_age(limits.MARK_DURATION)

_TAGS: Final[Mapping[ChangeTag, str]] = {
    ChangeTag.NEW: "down, gone",
    ChangeTag.BACK: "is back",
    ChangeTag.MOVED: "renamed",
    ChangeTag.MODE: "other mode",
}


_ASIDES: Final[Mapping[Aside, str]] = {
    Aside.OLD: "over 24h",
    Aside.GONE: "not listed",
    Aside.SILENCED: "for a time",
    Aside.NOT_PAGING: "A changes it",
    Aside.REPLACED: "by another",
}


STATUS_ENTRIES: Final[Sequence[LegendEntry]] = (
    LegendEntry("2 page", "offline", "+3 off do not"),
    LegendEntry("DATA ?", "late", "and the cause"),
    LegendEntry("KEY REFUSED", "unknown", "renew it"),
    LegendEntry("2 acked", "", "acknowledged"),
    LegendEntry("BLIND", "unknown", "no data"),
    LegendEntry("NONE ON", "offline", "nothing up"),
    LegendEntry("3 behind", "", "older version"),
    LegendEntry("2 marked", "late", "by space"),
    LegendEntry("3/40", "late", "in the view"),
)
LIVE: Final = LegendEntry("live 2s/5s", "online", "data 2 s old, poll each 5 s")


_DAY: Final[Mapping[Kind, str]] = {
    Kind.OFFLINE: "loss",
    Kind.ONLINE: "back",
    Kind.FAILING: "blind",
    Kind.MODE: "mode",
    Kind.RECONNECTED: "reconnected",
    Kind.VERSION: "other change",
}


def state_entries(rules: Limits, *, ascii_only: bool) -> Sequence[LegendEntry]:
    """Return the five states and the thresholds."""
    late, lost = long_age(rules.late_after), long_age(rules.online_for)
    looks = (
        (PRESENCE_STYLES[Presence.ONLINE], f"its last heartbeat is under {late} old"),
        (PRESENCE_STYLES[Presence.LATE], f"a heartbeat was missed: silent for {late}"),
        (PRESENCE_STYLES[Presence.OFFLINE], f"no connection, or silent for {lost}"),
        (PRESENCE_STYLES[Presence.GONE], "the server no longer lists it"),
        (UNKNOWN._replace(word=_UNKNOWN), "cannot be judged: no data, or clocks that disagree"),
    )
    return _of_looks(looks, ascii_only=ascii_only)


def mark_entries(*, ascii_only: bool) -> Sequence[LegendEntry]:
    """Return the words that stand in place of a state."""
    offline = PRESENCE_STYLES[Presence.OFFLINE]
    looks = (
        (offline._replace(word=FLAPPING, style="flapping"), "comes and goes"),
        (offline._replace(word=CLOCK_SUSPECT, style="unknown"), "clock and beat disagree"),
        (UNKNOWN._replace(word=offline.word), "blind: the last verdict"),
    )
    return _of_looks(looks, ascii_only=ascii_only)


def _of_looks(looks: Iterable[tuple[StateStyle, str]], *, ascii_only: bool) -> Sequence[LegendEntry]:
    return [
        LegendEntry(f"{look.ascii if ascii_only else look.glyph} {look.word}", look.style, meaning)
        for look, meaning in looks
    ]


def paging_text() -> str:
    """Return what pages."""
    share, days = f"{limits.PERMANENT_SHARE * 100:.0f} %", limits.UPTIME_WINDOW.days
    hours = limits.UPTIME_KNOWN_AFTER // timedelta(hours=1)
    return (
        f"A machine that was up for {share} of the last {days} days pages when it goes off: the bell rings, and hooks "
        f"send a message. Sandboxes, and machines that came within the last {hours} watched hours, do not page. "
        "The detail says why. A overrides it: always or never."
    )


def hour_entries(*, ascii_only: bool) -> Sequence[LegendEntry]:
    """Return the states of a past hour, the worst first."""
    return [
        LegendEntry(look.ascii if ascii_only else look.glyph, look.style, look.word)
        for look in (HOUR_STYLES[state] for state in UptimeState)
    ]


def day_entries(*, ascii_only: bool) -> Sequence[LegendEntry]:
    """Return the signs of past events, the gravest first."""
    looks = [(event_style(Event(kind=kind, at=NEVER)), meaning) for kind, meaning in _DAY.items()]
    entries = [LegendEntry(look.ascii if ascii_only else look.glyph, look.style, meaning) for look, meaning in looks]
    return [*entries, LegendEntry(MARKER[ascii_only], "late", "this moment")]


def tag_entries() -> Sequence[LegendEntry]:
    """Return the tags, the most important first."""
    tags = [LegendEntry(tag, "offline" if tag is ChangeTag.NEW else "online", _TAGS[tag]) for tag in TABLE_TAGS]
    return [*tags, LegendEntry(TAGS_LAST, "", "tags stay")]


def rule_entries() -> Sequence[LegendEntry]:
    """Return the words for down rows outside the block."""
    return [LegendEntry(aside.value, "", meaning) for aside, meaning in _ASIDES.items()]
