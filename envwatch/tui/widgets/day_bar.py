"""The line of events around the moment that is shown, below the status bar while that is not the present.

At its end, which is the present, stands why the present cannot be seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.reactive import reactive

from envwatch.model.text import EMPTY
from envwatch.model.times import zone_of
from envwatch.tui.state import DisplayOptions, MonitorState
from envwatch.tui.widgets.line import STATE_STYLES, Part, TextLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.tui.widgets.line import Row
    from envwatch.views.events.day_line import Day
    from envwatch.views.state_style import Piece

_LEAST = 10
"""Cells of the line from which its labels have room beside it."""
_WITHOUT_LEGEND = 80
"""Cells of the screen that the legend leaves to the line and its labels."""


class DayBar(TextLine):
    """The events of a day, its gaps, and the moment that is shown."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line--{style}" for style in (*STATE_STYLES, "faint", "rewound")}

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    options: reactive[DisplayOptions] = reactive(DisplayOptions)

    _drawn_cells: tuple[Day, int, bool, Sequence[Piece]] | None = None
    """The cells of the last frame, and what they were made of: there are many events, and they seldom change."""

    def watch_state(self) -> None:
        """Stand below the status bar while the past is shown."""
        is_past = self.state.rewound is not None
        if self.display != is_past:
            self.display = is_past
        if is_past:
            self.refresh_if_changed()

    def parts(self) -> Row:
        rewound = self.state.rewound
        news = [Part(f"live: {rewound.live}", "offline", 10)] if rewound is not None and rewound.live else []
        if rewound is None or rewound.day is None:
            return [Part("reading the events", "faint")], news
        from envwatch.views.events.day_line import day_runs, ends_of, hour_labels

        day, is_ascii, zone = rewound.day, self.options.glyphs.is_ascii, zone_of(self.options.times)
        begin, end = ends_of(day, zone)
        news = [*self._legend(is_ascii=is_ascii), *news]
        width = self.size.width - self.width_of((Part(begin), Part(""), Part(end), *news))
        if width < _LEAST:
            begin, end, width = EMPTY, EMPTY, max(self.size.width - self.width_of((Part(""), *news)), 0)
        drawn, hours = self._cells(day, width, is_ascii=is_ascii), hour_labels(day, width, zone)
        runs = day_runs(day, drawn, rewound.at, hours, ascii_only=is_ascii)
        cells = [Part(run.text, run.style, 9, is_joined=place > 0) for place, run in enumerate(runs)]
        labels = [Part(begin, "faint", 8)] if begin else []
        return [*labels, *cells], [*([Part(end, "faint", 8)] if end else []), *news]

    def _legend(self, *, is_ascii: bool) -> list[Part]:
        """Return the signs of the line with their meanings, as many as fit a wide screen."""
        from envwatch.views.pane.legend import day_entries

        parts: list[Part] = []
        for sign, style, meaning in day_entries(ascii_only=is_ascii):
            entry = [Part(sign, style, 2), Part(f" {meaning}", "faint", 2, is_joined=True)]
            if self.width_of([*parts, *entry]) > self.size.width - _WITHOUT_LEGEND:
                break
            parts += entry
        return parts

    def _cells(self, day: Day, width: int, *, is_ascii: bool) -> Sequence[Piece]:
        from envwatch.views.events.day_line import day_cells

        drawn = self._drawn_cells
        if drawn is None or drawn[0] is not day or drawn[1:3] != (width, is_ascii):
            drawn = self._drawn_cells = (day, width, is_ascii, day_cells(day, width, ascii_only=is_ascii))
        return drawn[3]
