"""The status line: where we look, what is there, and how far it can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.reactive import reactive

from envwatch.fleet.counts import Counts, counts_of
from envwatch.fleet.fleet import Freshness
from envwatch.fleet.fleets import Fleets
from envwatch.fleet.presence import Presence
from envwatch.model.text import Clean, named_ids
from envwatch.model.times import moment, short_age
from envwatch.tui.glyphs import UNICODE, Glyphs
from envwatch.tui.widgets.line import Part, TextLine
from envwatch.views.state_style import glyph_of
from envwatch.views.table_view import Preset, View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.fleet import Fleet
    from envwatch.model.clock import Reading
    from envwatch.sources.poller import PollSchedule


class StatusBar(TextLine):
    """Profile and host, counts, drift of modes and versions, age of the data, badges."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line--title",
        "line--faint",
        "line--online",
        "line--late",
        "line--offline",
        "line--unknown",
        "line--flapping",
        "line--unrestricted",
        "line--badge",
        "line--alarm",
    }

    fleets: reactive[Fleets] = reactive(Fleets, init=False)
    now: reactive[Reading | None] = reactive(None, init=False, repaint=False)
    schedules: reactive[Mapping[Clean, PollSchedule]] = reactive(dict)
    view: reactive[View] = reactive(View)
    acks: reactive[Acks] = reactive(dict)
    """Problems that are acknowledged."""
    rings: reactive[bool] = reactive(default=False)
    """Whether the bell is on."""
    shown: reactive[int] = reactive(0)
    """How many rows the table shows."""
    hidden_problems: reactive[int] = reactive(0)
    """How many problems the view hides."""
    pages: reactive[int] = reactive(0)
    """Pages read so far of the walks under way."""
    glyphs: reactive[Glyphs] = reactive(UNICODE)

    def __init__(self, *, watched: str) -> None:
        super().__init__()
        self._watched = watched
        self._counts: Mapping[Clean, tuple[Fleet, Counts]] = {}

    def watch_fleets(self) -> None:
        """Count anew, and let a key through between this and what others do with a listing."""
        self.call_later(self._count)

    def _count(self) -> None:
        counts = {}
        for profile, fleet in self.fleets.by_profile.items():
            known = self._counts.get(profile)
            counts[profile] = known if known is not None and known[0] is fleet else (fleet, counts_of(fleet))
        self._counts = counts
        self.refresh()

    def watch_now(self) -> None:
        """Let the age of the data tick."""
        self.tick()

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return the line's parts; badges outweigh all."""
        left = [Part("envwatch", "title", 1), Part(self._watched, "faint", 3)]
        return [*left, *self._counted(), *self._unknown()], [*self._badges(), *self._recency()]

    def _sights(self) -> list[tuple[Clean, Fleet, Freshness]]:
        """Return how well each fleet is seen, the profile's name as it stands behind a badge."""
        if self.now is None:
            return []
        return [
            (Clean(f" {profile}" if self.fleets.are_several else ""), fleet, fleet.freshness(self.now))
            for profile, fleet in self.fleets.by_profile.items()
        ]

    def _counted(self) -> list[Part]:
        """Return the counts of all that is seen, and none before its first listing has been counted."""
        seen = {
            fleet.profile
            for _, fleet, freshness in self._sights()
            if freshness not in {Freshness.BLIND, Freshness.WAITING}
        }
        counted = [
            counts for profile, (fleet, counts) in self._counts.items() if profile in seen and fleet.listed is not None
        ]
        if not counted:
            return []
        total = sum(counted, Counts())
        parts = []
        for presence, word, weight in (
            (Presence.ONLINE, "on", 8),
            (Presence.LATE, "late", 8),
            (Presence.OFFLINE, "off", 9),
            (Presence.GONE, "gone", 4),
        ):
            count = total.of(presence)
            style = presence.value if count and presence is not Presence.GONE else "faint"
            if count or presence is not Presence.GONE:
                glyph = glyph_of(presence, ascii_only=self.glyphs.is_ascii)
                parts.append(Part(f"{glyph} {count} {word}", style, weight))
        if acked := sum(id_ in self.acks for id_ in total.problems):
            parts.append(Part(f"{acked} acked", "faint", 5))
        if total.flapping:
            parts.append(Part(f"{total.flapping} flapping", "flapping", 7))
        if total.unrestricted:
            parts.append(Part(f"{total.unrestricted} unrestricted", "unrestricted", 6))
        if total.behind:
            newest = f" {total.newest}" if total.newest else ""
            parts.append(Part(f"{total.behind} behind{newest}", "late", 2))
        return parts

    def _unknown(self) -> list[Part]:
        unknown = 0
        for _, fleet, freshness in self._sights():
            known = self._counts.get(fleet.profile)
            if freshness is Freshness.BLIND:
                unknown += len(fleet.environments)
            elif known is not None:
                unknown += known[1].unknown
        return [Part(f"? {unknown} unknown", "unknown", 9)] if unknown else []

    @property
    def _is_paused(self) -> bool:
        return any(schedule.is_paused for schedule in self.schedules.values())

    def _badges(self) -> list[Part]:
        parts: list[Part] = []
        for whose, fleet, _ in self._sights():
            parts += _is_unknown(fleet, whose)
        if self.view.is_narrowed:
            if count := self.hidden_problems:
                parts.append(Part(f"{count} problem{'' if count == 1 else 's'} hidden", "offline", 7))
            counted = f" {self.shown}/{len(self.fleets)} "
            parts.append(Part(f" {self._asked_for()}", "badge", 8, is_cut=True, tail=counted))
        if self.rings:
            parts.append(Part("bell", "faint", 1))
        if self._is_paused:
            parts.append(Part(" PAUSED ", "badge", 9))
        return parts

    def _asked_for(self) -> str:
        """Return all that narrows the view: the baseline, the preset, the query."""
        view = self.view
        baseline = view.baseline if view.compares else None
        since = f"BASELINE {moment(baseline.marked_at, None):%H:%M}" if baseline is not None else ""
        preset = "" if view.preset is Preset.ALL else view.preset
        return " ".join(filter(None, (since, preset, str(view.query))))

    def _recency(self) -> list[Part]:
        """Return how old the data is: a part for each fleet that is not seen live, one for the others."""
        if self.now is None or not self.schedules:
            return []
        parts, live, every = [], [], []
        for whose, fleet, freshness in self._sights():
            age = fleet.age(self.now)
            match freshness:
                case Freshness.WAITING:
                    pages = f" {self.glyphs.separator} page {self.pages + 1}" if self.pages else ""
                    text = f"asking{whose}{pages}" if fleet.failure is None else f"no data yet{whose}"
                    parts.append(Part(text, "late", 7))
                case Freshness.BLIND:
                    parts.append(Part(f" BLIND{whose} {short_age(age)} ", "alarm", 10))
                case Freshness.STALE:
                    parts.append(Part(f" STALE{whose} {short_age(age)} ", "badge", 10))
                    every.append(self.schedules[fleet.profile].interval)
                case Freshness.LIVE:
                    live.append((age, fleet.failure is not None))
                    every.append(self.schedules[fleet.profile].interval)
        if live:
            has_failed = any(failed for _, failed in live)
            oldest = max(age for age, _ in live if age is not None)
            if self._is_paused:
                parts.append(Part(f"as of {short_age(oldest)} ago", "late" if has_failed else "faint", 7))
            else:
                parts.append(Part(f"live {short_age(oldest)}", "late" if has_failed else "online", 7))
        if every and not self._is_paused:
            pace = short_age(max(every))
            parts.append(Part(f"/{pace}", "faint", 4, is_joined=True) if live else Part(f"every {pace}", "faint", 2))
        return parts


def _is_unknown(fleet: Fleet, whose: Clean) -> list[Part]:
    """Return why a fleet's data may not be what it seems."""
    parts = []
    if fleet.stall_detector.is_stalled:
        parts.append(Part(f" STALLED{whose} ", "alarm", 9))
    if fleet.hold is not None:
        parts.append(Part(f" HOLD{whose} ", "alarm", 9))
    if fleet.date_error is not None:
        parts.append(Part(f"server's Date wrong by {fleet.date_error / 1000:+.0f} s{whose}", "late", 6))
    elif fleet.clock.is_far_off:
        parts.append(Part(f"our clock {-fleet.clock.offset / 1000:+.0f} s{whose}", "late", 6))
    elif fleet.listed is not None and not fleet.clock.is_known:
        parts.append(Part(f"server sends no time{whose}", "late", 4))
    if fleet.snapshot is not None and fleet.snapshot.set_aside:
        named = named_ids(fleet.snapshot.set_aside_ids, fleet.snapshot.set_aside)
        parts.append(Part(f"{fleet.snapshot.set_aside} unreadable{whose}", "late", 6))
        parts.append(Part(named, "late", 3, is_joined=True))
    return parts
