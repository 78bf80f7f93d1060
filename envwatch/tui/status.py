"""The status line: where we look, what is there, and how far it can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.reactive import reactive

from envwatch.fleet import Fleet, Sight
from envwatch.modes import UNRESTRICTED, mode_of
from envwatch.phrases import glyph_of, short_age
from envwatch.poller import Plan, Stance
from envwatch.presence import Presence
from envwatch.tui.lines import Line, Part
from envwatch.tui.marks import UNICODE, Marks
from envwatch.view import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.clock import Reading


class StatusLine(Line):
    """Profile and host, counts, modes that matter, age of the data, badges."""

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

    fleet: reactive[Fleet] = reactive(Fleet, init=False)
    now: reactive[Reading | None] = reactive(None, init=False)
    plan: reactive[Plan | None] = reactive(None)
    view: reactive[View] = reactive(View)
    shown: reactive[int] = reactive(0)
    """How many rows the table shows."""
    hidden_problems: reactive[int] = reactive(0)
    """How many problems the view hides."""
    pages: reactive[int] = reactive(0)
    """Pages read so far of the walk under way."""
    marks: reactive[Marks] = reactive(UNICODE)

    def __init__(self, *, profile: str, host: str) -> None:
        super().__init__()
        self._profile = profile
        self._host = host
        self._counts: list[Part] = []

    def watch_fleet(self) -> None:
        """Count anew."""
        self._counts = self._counted()
        self.refresh()

    def watch_marks(self) -> None:
        """Count anew, with the other glyphs."""
        self.watch_fleet()

    def watch_now(self) -> None:
        """Let the age of the data tick."""
        self.refresh()

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return the line's parts; badges outweigh all."""
        left = [Part("envwatch", "title", 1), Part(f"{self._profile} {self.marks.separator} {self._host}", "faint", 3)]
        return [*left, *(self._unknown() or self._counts)], [*self._badges(), *self._freshness()]

    def _counted(self) -> list[Part]:
        fleet = self.fleet
        if fleet.listed is None:
            return []
        counts = fleet.counts()
        parts = []
        for presence, word, weight in (
            (Presence.ONLINE, "on", 8),
            (Presence.LATE, "late", 8),
            (Presence.OFFLINE, "off", 9),
            (Presence.GONE, "gone", 4),
        ):
            count = counts[presence]
            style = presence.value if count else "faint"
            if count or presence is not Presence.GONE:
                glyph = glyph_of(presence, ascii_only=self.marks.is_ascii)
                parts.append(
                    Part(f"{glyph} {count} {word}", style if presence is not Presence.GONE else "faint", weight)
                )
        watches = fleet.watches.values()
        if flapping := sum(watch.is_flapping for watch in watches):
            parts.append(Part(f"{flapping} flapping", "flapping", 7))
        unrestricted = sum(watch.verdict.is_up and mode_of(watch.environment.mode) == UNRESTRICTED for watch in watches)
        if unrestricted:
            parts.append(Part(f"{unrestricted} unrestricted", "unrestricted", 6))
        return parts

    def _unknown(self) -> list[Part]:
        if self.now is None or self.fleet.sight(self.now) is not Sight.BLIND:
            return []
        return [Part(f"? {len(self.fleet.watches)} unknown", "unknown", 9)]

    def _badges(self) -> list[Part]:
        fleet, parts = self.fleet, []
        if fleet.pulse.is_stalled:
            parts.append(Part(" STALLED ", "alarm", 9))
        if fleet.hold is not None:
            parts.append(Part(f" HOLD {fleet.hold.listings}/3 ", "alarm", 9))
        if fleet.clock.is_far_off:
            parts.append(Part(f"our clock {-fleet.clock.offset / 1000:+.0f} s", "late", 6))
        elif fleet.listed is not None and not fleet.clock.is_known:
            parts.append(Part("server sends no time", "late", 4))
        if fleet.snapshot is not None and fleet.snapshot.set_aside:
            parts.append(Part(f"{fleet.snapshot.set_aside} unreadable", "late", 6))
        if self.view.is_narrowed:
            if self.hidden_problems:
                parts.append(Part(f"{self.hidden_problems} problems hidden", "offline", 7))
            parts.append(Part(f" FILTER {self.shown}/{len(fleet.watches)} ", "badge", 8))
        if self.plan is not None and self.plan.stance is Stance.PAUSED:
            parts.append(Part(" PAUSED ", "badge", 9))
        return parts

    def _freshness(self) -> list[Part]:
        if self.now is None or self.plan is None:
            return []
        fleet = self.fleet
        every = Part(f"every {self.plan.interval.total_seconds():.0f}s", "faint", 2)
        age = fleet.age(self.now)
        match fleet.sight(self.now):
            case Sight.WAITING:
                pages = f" {self.marks.separator} page {self.pages + 1}" if self.pages else ""
                return [Part(f"asking{pages}" if fleet.failure is None else "no data yet", "late", 7)]
            case Sight.BLIND:
                return [Part(f" BLIND {short_age(age)} ", "alarm", 10)]
            case Sight.STALE:
                return [Part(f" STALE {short_age(age)} ", "badge", 10), every]
            case Sight.LIVE:
                return [Part(f"live {short_age(age)}", "online" if fleet.failure is None else "late", 7), every]
