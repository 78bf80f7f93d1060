"""The reference dashboard: Textual's DataTable, with visible ages updated each second.

Runs as a program; `ROWS` names a JSON file with a list of rows, each with the age in seconds in second place.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable

COLUMNS = ("STATE", "BEAT", "NAME", "MODE", "VERSION", "BRANCH")


class Keys(DataTable[str]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down"),
        Binding("k", "cursor_up"),
        Binding("ctrl+d", "page_down"),
        Binding("ctrl+u", "page_up"),
        Binding("G", "scroll_bottom"),
        Binding("g", "scroll_top"),
    ]


class Reference(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self._rows = json.loads(Path(os.environ["ROWS"]).read_text())
        self._started = time.monotonic()

    def compose(self) -> ComposeResult:
        yield Keys(cursor_type="row")

    def on_mount(self) -> None:
        table = self.query_one(Keys)
        table.add_columns(*COLUMNS)
        table.add_rows([state, self._age(seconds), *rest] for state, seconds, *rest in self._rows)
        self.set_interval(1, self._tick)

    def _tick(self) -> None:
        table = self.query_one(Keys)
        top = table.scroll_offset.y
        for place in range(top, min(top + table.size.height, len(self._rows))):
            table.update_cell_at(Coordinate(place, 1), self._age(self._rows[place][1]))

    def _age(self, seconds: float) -> str:
        return f"{seconds + time.monotonic() - self._started:.0f}s"


if __name__ == "__main__":
    Reference().run()
