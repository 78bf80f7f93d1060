"""The keys that arrange the table: sorting, columns, groups, folding, the baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from envwatch.tui.screens.column_picker import ColumnPicker
from envwatch.tui.screens.menu import Choice, Menu
from envwatch.tui.screens.table_screen import TableScreen
from envwatch.tui.widgets.environment_table import EnvironmentTable
from envwatch.views.baseline import Baseline
from envwatch.views.columns import COLUMNS
from envwatch.views.grouping import GROUPINGS, OLD, GroupHeader

_COMPARE = "Show what differs from the baseline"


class TableActions(TableScreen):
    """The keys that sort, group and compare the rows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("full_stop", "sort(1)", "Sort by the next column", key_display=".", show=False, id="sort.right"),
        Binding("comma", "sort(-1)", "Sort by the column before", key_display=",", show=False, id="sort.left"),
        Binding("I", "invert", "Invert the sorting", show=False, id="sort.invert"),
        Binding("o", "pick_sort", "Sort by …", show=False, id="sort.pick"),
        Binding("C", "pick_columns", "Columns …", show=False, id="sort.columns"),
        Binding("b", "pick_group", "Group by …", show=False, id="sort.group"),
        Binding("m", "mark", "Mark now as the baseline", show=False, id="baseline.mark"),
        Binding("equals_sign", "compare", _COMPARE, key_display="=", show=False, id="baseline.compare"),
        Binding("x", "fold", "Fold or open a group", show=False, id="sort.fold"),
        Binding("X", "fold_all", "Fold or open all groups", show=False, id="sort.fold_all"),
    ]

    def action_sort(self, step: int) -> None:
        """Sort by the column beside the present one; the default order follows either end."""
        orders: list[str | None] = [None, *(column.id for column in self.table.columns if column.id in COLUMNS)]
        place = orders.index(self.view.sort) if self.view.sort in orders else 0
        self._sort_by(orders[(place + step) % len(orders)], is_inverted=False)

    def action_invert(self) -> None:
        self._sort_by(self.view.sort, is_inverted=not self.view.is_inverted)

    @on(EnvironmentTable.HeaderClicked)
    def _sort_by_header(self, message: EnvironmentTable.HeaderClicked) -> None:
        is_same = message.column == self.view.sort
        self._sort_by(message.column, is_inverted=is_same and not self.view.is_inverted)

    def _sort_by(self, column: str | None, *, is_inverted: bool) -> None:
        self.view = replace(self.view, sort=column, is_inverted=is_inverted)
        by = "problems first" if column is None else f"by {_title_of(column)}"
        self.show_message(f"sorted {by}{', inverted' if is_inverted else ''}")

    def action_pick_sort(self) -> None:
        choices = [Choice("", "problems first", "then those closest to going offline, then by name")]
        sortable = [column for column in self.table.columns if column.id in COLUMNS]
        choices += [Choice(column.id, _title_of(column.id), column.about) for column in sortable]

        def sort_by(column: str | None) -> None:
            if column is not None:
                self._sort_by(column or None, is_inverted=False)

        self.app.push_screen(Menu("Sort by", choices, self.view.sort or ""), sort_by)

    def action_pick_columns(self) -> None:
        table = self.table

        def show(columns: tuple[str, ...] | None) -> None:
            if columns is not None:
                self.view = replace(self.view, columns=columns)
                visible = {column.id for column in table.usual_columns}
                hidden = [_title_of(id_) for id_ in columns if id_ not in visible]
                without = f"; no room here for {', '.join(hidden)}" if hidden else ""
                self.show_message(f"{len(columns)} columns{without}" if columns else "columns: those that fit")

        visible = [column.id for column in table.usual_columns]
        has_profiles = self.state.fleets.are_several
        self.app.push_screen(ColumnPicker(self.view.columns or visible, has_profiles=has_profiles), show)

    def action_pick_group(self) -> None:
        old = {tracked.key for header in self.table.headers if header.key == OLD for tracked in header.environments}
        environments = [tracked for tracked in self.table.rows if tracked.key not in old]
        choices = [Choice("", "nothing", "one list")]
        for id_, value_of in GROUPINGS.items():
            if id_ != "profile" or self.state.fleets.are_several:
                count = len({value_of(tracked) or None for tracked in environments})
                choices.append(Choice(id_, COLUMNS[id_].title, f"{count} group{'' if count == 1 else 's'}"))

        def group_by(column: str | None) -> None:
            if column is not None:
                self.set_view(replace(self.view, group=column or None, folded=self.view.folded & {OLD}))
                title = COLUMNS[column].title if column else ""
                self.show_message(f"grouped by {title}: x folds a group, X all" if column else "not grouped")

        self.app.push_screen(Menu("Group by", choices, self.view.group or ""), group_by)

    def action_mark(self) -> None:
        fleets, unlisted = self.state.fleets, self.state.fleets.unlisted
        if not fleets.is_listed:
            self.show_message("nothing to mark: no listing yet")
            return
        baseline = Baseline.of(fleets.environments, self.state.now.wall, unlisted)
        self.set_view(replace(self.view, baseline=baseline))
        without = f", except {', '.join(unlisted)}: not listed yet" if unlisted else ""
        self.show_message(f"baseline marked: = shows what differs from now on{without}")

    def action_compare(self) -> None:
        """Show only what differs from the baseline, or everything again."""
        if self.view.baseline is None:
            self.show_message("no baseline yet: m marks how everything is now")
        else:
            self.set_view(replace(self.view, compares=not self.view.compares))

    def action_fold(self) -> None:
        """Fold or open the group under the cursor, else the first group: without grouping, that of the long offline."""
        group = self.table.group or next(iter(self.table.headers), None)
        if group is None:
            self.show_message("nothing to fold: b groups rows, and none here has been offline for a day")
        else:
            self.toggle(group)

    def toggle(self, group: GroupHeader) -> None:
        self.table.pin_cursor()
        self.set_view(replace(self.view, folded=self.view.folded ^ {group.key}))
        self.table.reveal(group.key)

    def action_fold_all(self) -> None:
        """Fold all groups, or open them if none is open."""
        headers = self.table.headers
        if not headers:
            self.show_message("nothing to fold: b groups rows")
            return
        is_any_open = any(header.is_open for header in headers)
        self.set_view(replace(self.view, folded=frozenset(header.key for header in headers if is_any_open)))
        groups = "the one group" if len(headers) == 1 else f"all {len(headers)} groups"
        self.show_message(f"{'folded' if is_any_open else 'opened'} {groups}")


def _title_of(column: str) -> str:
    """Return a column's title without the gap that puts BEAT over the ages."""
    return " ".join(COLUMNS[column].title.split())
