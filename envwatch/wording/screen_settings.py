"""The settings of the screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from envwatch.model.limits import setting

if TYPE_CHECKING:
    from typing import Literal


# Each generated method slows every start.
@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False, match_args=False)
class ScreenSettings:
    """The initial looks and sounds of the screen. Field docstrings are user documentation."""

    view: str | None = setting(None, rule="LINE", example='"gpu"', part="view", option=True)
    """The dashboard's first view: the name of a table `[views.NAME]`, or a built-in view such as `offline`. The view
    takes precedence over `filter`, `columns` and `sort`."""
    filter: str = setting("", rule="QUERY_OF_TABLE", example='"!os:darwin"', part="view", option=True)
    """The dashboard's first filter, in the language of the filter box."""
    # The empty default stands for the columns that fit.
    columns: tuple[str, ...] = setting(
        (), rule="COLUMN_LIST", example='["name", "mode", "version", "branch", "up"]', part="view", demo=True
    )
    """Columns of the table, in order."""
    sort: str | None = setting(None, rule="SORT", example='"mode"', part="view", demo=True)
    """First sort order: a column, or `losses` (the default) for losses first."""
    theme: str | None = setting(None, rule="LINE", example='"envwatch-light"', part="usual", demo=True)
    """Theme: envwatch-dark, -light, -contrast, -safe, -ansi, or any theme of Textual."""
    bell: bool = setting(default=False, rule="FLAG", example="true", part="view", demo=True)
    """Ring the terminal's bell when an incident opens."""
    notify: Literal["off", "osc9", "osc777"] = setting(
        "off", rule='one_of("off", "osc9", "osc777")', example='"osc9"', part="view", demo=True
    )
    """Show a desktop notification with the bell, by the escape sequence that your terminal supports."""
    title: bool = setting(default=True, rule="FLAG", example="false", part="view", demo=True)
    """Show how many machines page, are off or late in the terminal's title."""
