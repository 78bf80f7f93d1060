"""The keys that arrange the table: sorting, columns, groups and what is folded, the baseline."""

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


class TableActions(TableScreen):
    """How the rows stand."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("full_stop", "sort(1)", "Sort by the next column", key_display=".", show=False, id="sort.right"),
        Binding("comma", "sort(-1)", "Sort by the column before", key_display=",", show=False, id="sort.left"),
        Binding("I", "invert", "Invert the sorting", show=False, id="sort.invert"),
        Binding("o", "pick_sort", "Sort by …", show=False, id="sort.pick"),
        Binding("C", "pick_columns", "Columns …", show=False, id="sort.columns"),
        Binding("b", "pick_group", "Group by …", show=False, id="sort.group"),
        Binding("m", "mark", "Mark now as the baseline", show=False, id="baseline.mark"),
        Binding(
            "equals_sign",
            "compare",
            "Show what differs from the baseline",
            key_display="=",
            show=False,
            id="baseline.compare",
        ),
        Binding("x", "fold", "Fold or open a group", show=False, id="sort.fold"),
        Binding("X", "fold_all", "Fold or open all groups", show=False, id="sort.fold_all"),
    ]

    def action_sort(self, step: int) -> None:
        """Sort by a neighbour of the present column; beyond either end stands the default order."""
        orders: list[str | None] = [None, *(column.id for column in self.table.columns if column.id in COLUMNS)]
        place = orders.index(self.view.sort) if self.view.sort in orders else 0
        self._sort_by(orders[(place + step) % len(orders)], is_inverted=False)

    def action_invert(self) -> None:
        """Invert the order."""
        self._sort_by(self.view.sort, is_inverted=not self.view.is_inverted)

    @on(EnvironmentTable.SortWanted)
    def _sort_by_header(self, message: EnvironmentTable.SortWanted) -> None:
        is_same = message.column == self.view.sort
        self._sort_by(message.column, is_inverted=is_same and not self.view.is_inverted)

    def _sort_by(self, column: str | None, *, is_inverted: bool) -> None:
        self.view = replace(self.view, sort=column, is_inverted=is_inverted)
        by = "problems first" if column is None else f"by {_called(column)}"
        self.show_message(f"sorted {by}{', inverted' if is_inverted else ''}")

    def action_pick_sort(self) -> None:
        """Choose what to sort by."""
        choices = [Choice("", "problems first", "then those nearest to falling, then by name")]
        choices += [
            Choice(column.id, _called(column.id), column.about) for column in self.table.columns if column.id in COLUMNS
        ]

        def sort_by(column: str | None) -> None:
            if column is not None:
                self._sort_by(column or None, is_inverted=False)

        self.app.push_screen(Menu("Sort by", choices, self.view.sort or ""), sort_by)

    def action_pick_columns(self) -> None:
        """Choose the columns and their order."""
        table = self.table

        def show(wanted: tuple[str, ...] | None) -> None:
            if wanted is not None:
                self.view = replace(self.view, columns=wanted)
                shown = {column.id for column in table.usual_columns}
                hidden = [_called(id_) for id_ in wanted if id_ not in shown]
                without = f"; no room here for {', '.join(hidden)}" if hidden else ""
                self.show_message(f"{len(wanted)} columns{without}" if wanted else "columns: those that fit")

        shown = [column.id for column in table.usual_columns]
        self.app.push_screen(ColumnPicker(self.view.columns or shown, has_profiles=self.fleets.are_several), show)

    def action_pick_group(self) -> None:
        """Choose what to group by."""
        aside = {
            tracked.key for heading in self.table.headings if heading.key == OLD for tracked in heading.environments
        }
        environments = [tracked for tracked in self.table.rows if tracked.key not in aside]
        choices = [Choice("", "nothing", "one list")]
        for id_, value_of in GROUPINGS.items():
            if id_ != "profile" or self.fleets.are_several:
                count = len({value_of(tracked) or None for tracked in environments})
                choices.append(Choice(id_, COLUMNS[id_].title, f"{count} group{'' if count == 1 else 's'}"))

        def group_by(column: str | None) -> None:
            if column is not None:
                self.set_view(replace(self.view, group=column or None, folded=self.view.folded & {OLD}))
                title = COLUMNS[column].title if column else ""
                self.show_message(f"grouped by {title}: x folds a group, X all" if column else "not grouped")

        self.app.push_screen(Menu("Group by", choices, self.view.group or ""), group_by)

    def action_mark(self) -> None:
        """Remember how everything is now."""
        if self.now is None or not self.fleets.is_listed:
            self.show_message("nothing to mark: no listing yet")
            return
        unlisted = self.fleets.unlisted
        self.set_view(replace(self.view, baseline=Baseline.of(self.fleets.environments, self.now.wall, unlisted)))
        without = f", but for {', '.join(unlisted)}, not listed yet" if unlisted else ""
        self.show_message(f"baseline marked: = shows what differs from now on{without}")

    def action_compare(self) -> None:
        """Show only what differs from the baseline, or everything again."""
        if self.view.baseline is None:
            self.show_message("no baseline yet: m marks how everything is now")
        else:
            self.set_view(replace(self.view, compares=not self.view.compares))

    def action_fold(self) -> None:
        """Fold or open the group under the cursor; where the cursor is in none, that of the long offline."""
        group = self.table.group or next(iter(self.table.headings), None)
        if group is None:
            self.show_message("nothing to fold: b groups rows, and none here has been offline for a day")
        else:
            self.toggle(group)

    def toggle(self, group: GroupHeader) -> None:
        """Fold a group that is open, open one that is folded."""
        self.table.hold()
        self.set_view(replace(self.view, folded=self.view.folded ^ {group.key}))
        self.table.reveal(group.key)

    def action_fold_all(self) -> None:
        """Fold all groups, or open them if none is open."""
        headings = self.table.headings
        if not headings:
            self.show_message("nothing to fold: b groups rows")
            return
        is_any_open = any(heading.is_open for heading in headings)
        self.set_view(replace(self.view, folded=frozenset(heading.key for heading in headings if is_any_open)))
        groups = "the one group" if len(headings) == 1 else f"all {len(headings)} groups"
        self.show_message(f"{'folded' if is_any_open else 'opened'} {groups}")


def _called(column: str) -> str:
    """Return the title of a column as it stands in a sentence, without the gap that puts BEAT over the ages."""
    return " ".join(COLUMNS[column].title.split())
