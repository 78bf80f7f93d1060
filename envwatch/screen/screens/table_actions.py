"""The keys of the table."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from envwatch.model.text import counted
from envwatch.model.times import clock_text
from envwatch.screen.screens.table_screen import TableScreen
from envwatch.screen.state import Choice
from envwatch.screen.terminal.app import add_binding
from envwatch.screen.widgets.environment_table import EnvironmentTable
from envwatch.screen.widgets.footer import keyless_binding
from envwatch.views.table.columns import COLUMNS, META, is_column, metadata_title
from envwatch.views.table.table_view import BUILT_IN_VIEWS, GROUPINGS, OLD, GroupHeader, NamedView, View

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from envwatch.views.table.block import LineKey

_FONTS: Final = re.compile(r"@font-face \{[^}]*\}\s*")
"""Removed from exports, because viewers would fetch the fonts from a third party."""


def binding_of(view: NamedView) -> Binding:
    """Return a view's binding; without a key, for the palette and `[keys]` only."""
    action = f"view('{view.name}')"
    if not view.key:
        return keyless_binding(action, view.description, view.id)
    return Binding(view.key, action, view.description, show=False, id=view.id)


class TableActions(TableScreen):
    """The keys that sort, group, compare and export rows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "export", "Export machines or screen …", show=False, id="app.export"),
        Binding("o", "pick_sort", "Sort by …", show=False, id="sort.pick"),
        Binding("C", "pick_columns", "Columns …", show=False, id="sort.columns"),
        Binding("b", "pick_group", "Group by …", show=False, id="sort.group"),
        keyless_binding("mark", "Mark the present as the baseline", "baseline.mark"),
        keyless_binding("compare", "Compare with the baseline, or show all again", "baseline.compare"),
        Binding("x", "fold", "Fold or open a group; again: all groups", show=False, id="sort.fold"),
        keyless_binding("fold_all", "Fold or open all groups", "sort.fold_all"),
        keyless_binding("sort(1)", "Sort by the next column", "sort.right"),
        keyless_binding("sort(-1)", "Sort by the previous column", "sort.left"),
        keyless_binding("invert", "Invert the sorting", "sort.invert"),
    ]

    @dataclass
    class ExportRequested(Message):
        """The user exports the rows or the screen."""

        make: Callable[[], bytes]
        """Makes the content; slow for a large fleet, safe in any thread."""
        suffix: str
        what: str

        async def write(self, export: Callable[[bytes, str], Path], answer: Callable[[str], None]) -> None:
            answer(f"exporting {self.what}")
            try:
                path = await asyncio.to_thread(lambda: export(self.make(), self.suffix))
            except OSError as error:
                answer(f"cannot export here: {error.strerror}; start envwatch in a folder where you may write")
            else:
                answer(f"exported to {path.name}: {self.what}")

    _last_fold: tuple[LineKey, View, int] | None = None
    """Group, resulting view and `moves` at the last `x`."""

    _views: Mapping[str, NamedView] = BUILT_IN_VIEWS
    _undone: View | None = None
    """The view that the last reset left."""

    def bind_views(self, own: Mapping[str, NamedView]) -> None:
        self._views = {**BUILT_IN_VIEWS, **own}
        for view in own.values():
            add_binding(self, binding_of(view))

    def action_view(self, name: str) -> None:
        before, chosen = self.view, self._views[name]
        self.set_view(chosen.chosen(before))
        if chosen.preset is not None:
            if before.preset is chosen.preset:
                self.show_message(f"{name}: shown already; 0 shows everything again")
            return
        self.table.release_cursor()
        if chosen.is_built_in:
            self._answer_reset(before)
        elif before.name == name:
            self.show_message(f"{name}: shown already; 0 shows everything again")
        else:
            self.show_message(f"view {name}")

    def _answer_reset(self, before: View) -> None:
        """Offer to undo a reset; a second reset in a row undoes the first."""
        reset, undone = self.view, self._undone
        if before != reset:
            self._undone = before
            self.show_message("view reset: all machines, losses first, no groups; 0 again undoes it")
        elif undone is not None:
            self._undone = None
            self.set_view(replace(undone, columns=reset.columns, baseline=reset.baseline))
            self.show_message("as before the reset")
        else:
            self.show_message("nothing to reset: all machines, losses first, no groups")

    def action_sort(self, step: int) -> None:
        orders: list[str | None] = [None, *(column.id for column, _ in self.table.columns if is_column(column.id))]
        place = orders.index(self.view.sort) if self.view.sort in orders else 0
        self._sort_by(orders[(place + step) % len(orders)], is_inverted=False)

    def action_invert(self) -> None:
        self._sort_by(self.view.sort, is_inverted=not self.view.is_inverted)

    @on(EnvironmentTable.HeaderClicked)
    def _sort_by_header(self, message: EnvironmentTable.HeaderClicked) -> None:
        is_same = message.column == self.view.sort
        self._sort_by(message.column, is_inverted=is_same and not self.view.is_inverted)

    def _sort_by(self, column: str | None, *, is_inverted: bool) -> None:
        self.view = replace(self.view, sort=column, is_inverted=is_inverted and column is not None)
        if column is not None:
            self.show_message(f"sorted by {_title_of(column)}{', inverted' if is_inverted else ''}")
        else:
            self.show_message(f"sorted losses first{': this order cannot be inverted' if is_inverted else ''}")

    def action_pick_sort(self) -> None:
        from envwatch.screen.screens.dialogs import SortMenu

        choices = [Choice("", "losses first", "then by time to offline, then by name")]
        sortable = [column for column, _ in self.table.columns if is_column(column.id)]
        choices += [Choice(column.id, _title_of(column.id), column.about) for column in sortable]
        choices += self._metadata_choices({column.id for column in sortable})

        menu = SortMenu("Sort by", choices, self.view.sort or "")

        def sort_by(column: str) -> None:
            self._sort_by(column or None, is_inverted=menu.is_again and not self.view.is_inverted)

        self.ask(menu, sort_by)

    def _metadata_columns(self) -> Mapping[str, int]:
        from envwatch.query.completion import metadata_keys

        return {f"{META}{key}": count for key, count in metadata_keys(self.state.monitor.fleet.environments)}

    def _metadata_choices(self, without: Collection[str] = ()) -> list[Choice]:
        found = self._metadata_columns().items()
        return [
            Choice(id_, metadata_title(id_), counted(count, "machine")) for id_, count in found if id_ not in without
        ]

    def action_pick_columns(self) -> None:
        from envwatch.screen.screens.dialogs import ColumnPicker

        table = self.table

        def show(columns: tuple[str, ...]) -> None:
            self.view = self.view.with_columns(columns)
            visible = {column.id for column, _ in table.usual_columns}
            hidden = [_title_of(id_) for id_ in columns if id_ not in visible]
            without = f"; no room here for {', '.join(hidden)}" if hidden else ""
            self.show_message(f"{len(columns)} columns{without}" if columns else "columns: as many as fit")

        visible = [column.id for column, _ in table.usual_columns]
        has_profiles = self.state.monitor.fleet.are_several
        picker = ColumnPicker(
            self.view.visible_columns or visible, has_profiles=has_profiles, metadata=self._metadata_columns()
        )
        self.ask(picker, show)

    def action_pick_group(self) -> None:
        old = {tracked.key for header in self.table.headers if header.key == OLD for tracked in header.environments}
        environments = [tracked for tracked in self.table.rows if tracked.key not in old]
        choices = [Choice("", "nothing", "one list")]
        for id_, value_of in GROUPINGS.items():
            if id_ != "profile" or self.state.monitor.fleet.are_several:
                count = len({value_of(tracked) or None for tracked in environments})
                choices.append(Choice(id_, COLUMNS[id_].title, counted(count, "group")))
        choices += self._metadata_choices()

        def group_by(column: str) -> None:
            self.set_view(replace(self.view, group=column or None, folded=self.view.folded & {OLD}))
            if (group := self.table.row_cursor.heading()) is not None:
                self.table.reveal(group.key)
            title = _title_of(column) if column else ""
            self.show_message(f"grouped by {title}: x folds a group, x again all" if column else "not grouped")

        self.choose("Group by", choices, group_by, self.view.group or "")

    def action_mark(self) -> None:
        if not self.state.monitor.fleet.is_listed:
            self.show_message("nothing to mark: no answer yet")
        elif (baseline := self.view.baseline) is None:
            self._mark()
        else:
            marked_at = clock_text(baseline.marked_at, self.options.zone)
            choices = [Choice("replace", "replace", "by the present; esc keeps the baseline")]
            self.choose(f"Replace the baseline of {marked_at}?", choices, lambda _: self._mark())

    def _mark(self) -> None:
        from envwatch.views.table.baseline import Baseline

        fleet = self.state.monitor.fleet
        unlisted = fleet.unlisted
        baseline = Baseline.from_environments(fleet.environments, self.state.now.wall, unlisted)
        self.set_view(replace(self.view, baseline=baseline))
        without = f", except {', '.join(unlisted)}: not listed yet" if unlisted else ""
        self.show_message(f"baseline marked: :compare shows the differences from now on{without}")

    def action_compare(self) -> None:
        if self.view.baseline is None:
            self.show_message("no baseline yet: :baseline marks the present as the baseline")
        else:
            self.set_view(replace(self.view, compares=not self.view.compares))

    def action_fold(self) -> None:
        """Fold or open a group or an incident; a repeated `x` takes all groups."""
        if self.table.row_cursor.is_in_block:
            if self.table.incident is not None and self.table.incident.single is not None:
                self.show_message("nothing to unfold: the incident has one machine")
            elif self.table.incident is not None and self.table.incident.returned:
                self.show_message("nothing to unfold: all members are back, and stand in the table")
            else:
                self.table.toggle_members()
            return
        group = self.table.row_cursor.heading() or next(iter(self.table.headers), None)
        if group is None:
            self.show_message("nothing to fold: b groups machines")
        else:
            if self._last_fold == (group.key, self.view, self.table.moves):
                is_alike = all(header.is_open == group.is_open for header in self.table.headers)
                self._fold_all(is_open=group.is_open is not is_alike)
            else:
                self.toggle(group)
            self._last_fold = (group.key, self.view, self.table.moves)

    def toggle(self, group: GroupHeader) -> None:
        self.table.row_cursor.pin()
        if group.is_open and self.table.row_cursor.heading() is group:
            self.table.select(group.key)
        self.set_view(replace(self.view, folded=self.view.folded ^ {group.key}))
        self.table.reveal(group.key)

    def action_fold_all(self) -> None:
        if self.table.headers:
            self._fold_all(is_open=not any(header.is_open for header in self.table.headers))
        else:
            self.show_message("nothing to fold: b groups machines")

    def _fold_all(self, *, is_open: bool) -> None:
        headers = self.table.headers
        self.table.row_cursor.pin()
        self.set_view(replace(self.view, folded=frozenset() if is_open else frozenset(each.key for each in headers)))
        groups = "the one group" if len(headers) == 1 else f"all {len(headers):,} groups"
        self.show_message(f"{'opened' if is_open else 'folded'} {groups}")

    def action_export(self) -> None:
        from envwatch.views.output.formats import encode_csv, listing_json

        rows, state = self.table.matching, self.state
        what = f"{counted(len(rows), 'machine')}{self.as_of}"
        choices = [
            Choice("json", "JSON", f"{what} with every field"),
            Choice("csv", "CSV", f"{what} for a spreadsheet"),
            Choice("svg", "SVG", "a picture of the screen"),
        ]

        def export(suffix: str) -> None:
            if suffix == "svg":
                self.call_after_refresh(self._export_picture)
            else:
                environments = self.environment_list(rows, state)
                pieces = listing_json(environments) if suffix == "json" else encode_csv(environments)
                self.post_message(self.ExportRequested(partial(b"".join, pieces), f".{suffix}", what))

        self.choose("Export machines or screen", choices, export)

    def _export_picture(self) -> None:
        picture = _FONTS.sub("", self.app.export_screenshot(title="envwatch")).encode()
        self.post_message(self.ExportRequested(lambda: picture, ".svg", f"a picture of the screen{self.as_of}"))


def _title_of(column: str) -> str:
    """Return a title without the gap that aligns BEAT."""
    return metadata_title(column) if column.startswith(META) else " ".join(COLUMNS[column].title.split())
