"""The App's arguments."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from envwatch.config.declared import ScreenSettings
from envwatch.model.text import EMPTY, SafeText
from envwatch.query.language import parse
from envwatch.views.command_context import NO_COMMANDS, CommandSettings
from envwatch.views.table.table_view import BUILT_IN_VIEWS, NamedView, View
from envwatch.watch.loop import Watch, ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from envwatch.history.past import Past
    from envwatch.model.clock import WallMs


class Replay(NamedTuple):
    """Replay of `Inputs.pasts`, during which the App polls nothing."""

    name: str
    profile: str
    host: str
    speed: float = 1.0
    """Recorded seconds per second, over 0."""
    at: WallMs | None = None
    """First moment by the recording machine's clock; None for the beginning."""
    plays: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The App's data sources and outputs."""

    watch: Watch
    """Watch of the profiles, in a replay without targets."""
    export: Callable[[bytes, str], Path]
    """Writes a file with a suffix such as `.json`; returns the path, raises OSError."""
    keep: Callable[..., None] = ignore
    """Saves settings by keyword: `columns`, `theme`, `bell`, `hints`; `filter` is added to the last filters."""
    filters: Sequence[str] = ()
    """The user's last filters, oldest first."""
    user: SafeText = EMPTY
    notices: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    pasts: Mapping[SafeText, Past] = field(default_factory=dict)
    """Histories by profile, or a replay's recording; may be empty."""
    readable: asyncio.Queue[SafeText] = field(default_factory=asyncio.Queue)
    """Profiles whose past has become readable."""
    begin_at: WallMs | None = None
    """Past moment to begin at, by this machine's clock."""
    replay: Replay | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """Settings of the screen, views, keys and commands."""

    settings: ScreenSettings = field(default_factory=ScreenSettings)
    is_filter_option: bool = False
    """Whether the command line's query overrides the first view's query."""
    views: Mapping[str, NamedView] = field(default_factory=dict)
    keymap: Mapping[str, str] = field(default_factory=dict)
    """Keys by binding id, in Textual's form."""
    commands: CommandSettings = NO_COMMANDS
    ascii_only: bool = False

    @property
    def first_view(self) -> View:
        first = self.settings
        plain = View(sort=first.sort, query=parse(first.filter, has_past=True), columns=first.columns)
        if first.view is None:
            return plain
        named = (self.views.get(first.view) or BUILT_IN_VIEWS[first.view]).chosen(plain)
        return replace(named, query=plain.query) if self.is_filter_option else named
