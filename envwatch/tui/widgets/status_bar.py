"""The status bar: what is watched, counts by presence, and how far the data can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.reactive import reactive

from envwatch.fleet.counts import Counts, counts_of
from envwatch.fleet.fleet import Freshness
from envwatch.fleet.presence import Presence
from envwatch.model.text import Clean, named_ids
from envwatch.model.times import moment, short_age
from envwatch.tui.state import DisplayOptions, MonitorState
from envwatch.tui.widgets.line import STATE_STYLES, Part, TextLine
from envwatch.views.state_style import glyph_of
from envwatch.views.table_view import Preset, View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.fleet import Fleet

_COUNTED = (
    (Presence.ONLINE, "on", 8),
    (Presence.LATE, "late", 8),
    (Presence.OFFLINE, "off", 9),
    (Presence.GONE, "gone", 4),
)
"""Presences in their order on the line, each with its word and the weight of its part."""

_NOT_VISIBLE = {Freshness.BLIND, Freshness.WAITING}


class StatusBar(TextLine):
    """Profile and host, counts, mixed modes and versions, age of the data, badges."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"line--{style}" for style in (*STATE_STYLES, "title", "faint", "badge", "alarm")
    }

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    view: reactive[View] = reactive(View)
    options: reactive[DisplayOptions] = reactive(DisplayOptions)
    visible_rows: reactive[int] = reactive(0)
    hidden_problems: reactive[int] = reactive(0)

    def __init__(self, *, watched: str) -> None:
        super().__init__()
        self._watched = watched
        self._counts: Mapping[Clean, tuple[Fleet, Counts]] = {}
        """Counts of each fleet, by profile, with the fleet that was counted."""

    def watch_state(self, old: MonitorState, new: MonitorState) -> None:
        """Redraw what changed; count a new listing later, so that a key is handled before."""
        if new.fleets is not old.fleets:
            self.call_later(self._count)
        self.refresh_if_changed()

    def _count(self) -> None:
        counts = {}
        for profile, fleet in self.state.fleets.by_profile.items():
            previous = self._counts.get(profile)
            counts[profile] = previous if previous and previous[0] is fleet else (fleet, counts_of(fleet))
        self._counts = counts
        self.refresh()

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return the line's parts; badges have the most weight."""
        left = [Part("envwatch", "title", 1), Part(self._watched, "faint", 3)]
        return [*left, *self._presences(), *self._unknown()], [*self._badges(), *self._ages()]

    def _fleets(self) -> list[tuple[Clean, Fleet, Freshness]]:
        """Return each fleet, the suffix that names its profile if there are several, and its freshness."""
        fleets, now = self.state.fleets, self.state.now
        return [
            (Clean(f" {profile}" if fleets.are_several else ""), fleet, fleet.freshness(now))
            for profile, fleet in fleets.by_profile.items()
        ]

    def _presences(self) -> list[Part]:
        """Return the counts over all fleets that are visible; nothing before a first listing has been counted."""
        visible = {fleet.profile for _, fleet, freshness in self._fleets() if freshness not in _NOT_VISIBLE}
        counted = [self._counts[profile] for profile in self._counts if profile in visible]
        counts = [counts for fleet, counts in counted if fleet.listed is not None]
        if not counts:
            return []
        total = sum(counts, Counts())
        parts = []
        for presence, word, weight in _COUNTED:
            count, is_gone = total.of(presence), presence is Presence.GONE
            if count or not is_gone:
                style = presence.value if count and not is_gone else "faint"
                glyph = glyph_of(presence, ascii_only=self.options.glyphs.is_ascii)
                parts.append(Part(f"{glyph} {count} {word}", style, weight))
        newest = f" {total.newest}" if total.newest else ""
        for count, text, style, weight in (
            (sum(id_ in self.state.acks for id_ in total.problems), "acked", "faint", 5),
            (total.flapping, "flapping", "flapping", 7),
            (total.unrestricted, "unrestricted", "unrestricted", 6),
            (total.behind, f"behind{newest}", "late", 2),
        ):
            if count:
                parts.append(Part(f"{count} {text}", style, weight))
        return parts

    def _unknown(self) -> list[Part]:
        unknown = 0
        for _, fleet, freshness in self._fleets():
            if freshness is Freshness.BLIND:
                unknown += len(fleet.environments)
            elif fleet.profile in self._counts:
                unknown += self._counts[fleet.profile][1].unknown
        return [Part(f"? {unknown} unknown", "unknown", 9)] if unknown else []

    @property
    def _is_paused(self) -> bool:
        return any(schedule.is_paused for schedule in self.state.schedules.values())

    def _badges(self) -> list[Part]:
        parts: list[Part] = []
        for suffix, fleet, _ in self._fleets():
            parts += _warnings(fleet, suffix)
        if self.view.is_narrowed:
            if count := self.hidden_problems:
                parts.append(Part(f"{count} problem{'' if count == 1 else 's'} hidden", "offline", 7))
            ratio = f" {self.visible_rows}/{len(self.state.fleets)} "
            parts.append(Part(f" {self._filter_text()}", "badge", 8, is_cut=True, tail=ratio))
        if self.options.rings:
            parts.append(Part("bell", "faint", 1))
        if self._is_paused:
            parts.append(Part(" PAUSED ", "badge", 9))
        return parts

    def _filter_text(self) -> str:
        """Return all that narrows the view: the baseline, the preset, the query."""
        view = self.view
        baseline = view.baseline if view.compares else None
        since = f"BASELINE {moment(baseline.marked_at, None):%H:%M}" if baseline is not None else ""
        preset = "" if view.preset is Preset.ALL else view.preset
        return " ".join(filter(None, (since, preset, str(view.query))))

    def _ages(self) -> list[Part]:
        """Return how old the data is: a part for each fleet that is not live, one for all others."""
        schedules, now = self.state.schedules, self.state.now
        if not schedules:
            return []
        parts, live, intervals = [], [], []
        for suffix, fleet, freshness in self._fleets():
            age = fleet.age(now)
            match freshness:
                case Freshness.WAITING:
                    pages_read = self.state.pages_read
                    pages = f" {self.options.glyphs.separator} page {pages_read + 1}" if pages_read else ""
                    text = f"asking{suffix}{pages}" if fleet.failure is None else f"no data yet{suffix}"
                    parts.append(Part(text, "late", 7))
                case Freshness.BLIND:
                    parts.append(Part(f" BLIND{suffix} {short_age(age)} ", "alarm", 10))
                case Freshness.STALE:
                    parts.append(Part(f" STALE{suffix} {short_age(age)} ", "badge", 10))
                    intervals.append(schedules[fleet.profile].interval)
                case Freshness.LIVE:
                    live.append((age, fleet.failure is not None))
                    intervals.append(schedules[fleet.profile].interval)
        if live:
            has_failed = any(failed for _, failed in live)
            oldest = short_age(max(age for age, _ in live if age is not None))
            text, style = (f"as of {oldest} ago", "faint") if self._is_paused else (f"live {oldest}", "online")
            parts.append(Part(text, "late" if has_failed else style, 7))
        if intervals and not self._is_paused:
            interval = short_age(max(intervals))
            parts.append(
                Part(f"/{interval}", "faint", 4, is_joined=True) if live else Part(f"every {interval}", "faint", 2)
            )
        return parts


def _warnings(fleet: Fleet, suffix: Clean) -> list[Part]:
    """Return why a fleet's data may be wrong."""
    parts = []
    if fleet.stall_detector.is_stalled:
        parts.append(Part(f" STALLED{suffix} ", "alarm", 9))
    if fleet.hold is not None:
        parts.append(Part(f" HOLD{suffix} ", "alarm", 9))
    if fleet.date_error is not None:
        parts.append(Part(f"server's Date wrong by {fleet.date_error / 1000:+.0f} s{suffix}", "late", 6))
    elif fleet.clock.is_far_off:
        parts.append(Part(f"our clock {-fleet.clock.offset / 1000:+.0f} s{suffix}", "late", 6))
    elif fleet.listed is not None and not fleet.clock.is_known:
        parts.append(Part(f"server sends no time{suffix}", "late", 4))
    if fleet.snapshot is not None and fleet.snapshot.set_aside:
        named = named_ids(fleet.snapshot.set_aside_ids, fleet.snapshot.set_aside)
        parts.append(Part(f"{fleet.snapshot.set_aside} unreadable{suffix}", "late", 8))
        parts.append(Part(named, "late", 7, is_joined=True))
    return parts
