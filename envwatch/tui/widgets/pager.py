"""A scrolling container and its keys, without animation: each step of one is a frame that a slow link has to carry."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll


class Pager(VerticalScroll):
    """A container that scrolls by lines and pages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "by_lines(1)", "Scroll the text down", show=False, id="move.pane_down"),
        Binding("k,up", "by_lines(-1)", "Scroll the text up", show=False, id="move.pane_up"),
        Binding("g,home", "to_top", "Top of the text", show=False, id="move.pane_top"),
        Binding("G,end", "to_bottom", "Bottom of the text", show=False, id="move.pane_bottom"),
        Binding("ctrl+d,pagedown", "by_pages(1)", "Page down in the text", show=False, id="move.pane_page_down"),
        Binding("ctrl+u,pageup", "by_pages(-1)", "Page up in the text", show=False, id="move.pane_page_up"),
    ]

    def action_by_lines(self, lines: int) -> None:
        self.scroll_relative(y=lines, animate=False, immediate=True)

    def action_by_pages(self, pages: int) -> None:
        self.action_by_lines(pages * self.scrollable_content_region.height)

    def action_to_top(self) -> None:
        self.scroll_to(y=0, animate=False, immediate=True)

    def action_to_bottom(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)
