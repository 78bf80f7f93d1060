"""The legend of the help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import TABLE_TAGS, ChangeTag
from envwatch.fleet.watched_time import UptimeState
from envwatch.model import limits
from envwatch.model.environment import NEVER
from envwatch.model.times import long_age
from envwatch.wording.events.day_line import MARKER
from envwatch.wording.events.event_text import event_style
from envwatch.wording.state_style import CLOCK_SUSPECT, FLAPPING, HOUR_STYLES, PRESENCE_STYLES, UNKNOWN, StateStyle
from envwatch.wording.table.block import Aside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.model.limits import Limits


class LegendEntry(NamedTuple):
    """A sign and the meaning."""

    sign: str
    style: str
    meaning: str


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
    LegendEntry("3/40", "late", "rows shown"),
)
LIVE: Final = LegendEntry("live 2s/5s", "online", "listing 2 s old, poll each 5 s")


_DAY: Final[Mapping[Kind, str]] = {
    Kind.OFFLINE: "loss",
    Kind.ONLINE: "back",
    Kind.FAILING: "blind",
    Kind.MODE: "mode",
    Kind.RECONNECTED: "reconnected",
    Kind.VERSION: "other change",
}


def state_entries(rules: Limits, *, ascii_only: bool) -> Sequence[LegendEntry]:
    """Return the states and the thresholds."""
    late, lost = long_age(rules.late_after), long_age(rules.online_for)
    offline = PRESENCE_STYLES[Presence.OFFLINE]
    looks: Sequence[tuple[StateStyle, str]] = (
        (PRESENCE_STYLES[Presence.ONLINE], f"heartbeat under {late} old"),
        (offline, f"no connection, or silent {lost}"),
        (PRESENCE_STYLES[Presence.LATE], f"a ping missed: silent {late}"),
        (PRESENCE_STYLES[Presence.GONE], "not listed any more"),
        (offline._replace(word=FLAPPING, style="flapping"), "comes and goes"),
        (offline._replace(word=CLOCK_SUSPECT, style="unknown"), "clock and beat disagree"),
        (UNKNOWN._replace(word=offline.word), "blind: the last verdict"),
    )
    return [
        LegendEntry(f"{look.ascii if ascii_only else look.glyph} {look.word}", look.style, meaning)
        for look, meaning in looks
    ]


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
