"""The App's arguments."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from envwatch.model.text import EMPTY, SafeText
from envwatch.query.language import parse
from envwatch.watch.loop import Watch, ignore
from envwatch.wording.command_context import NO_COMMANDS, CommandSettings
from envwatch.wording.screen_settings import ScreenSettings
from envwatch.wording.table.table_view import BUILT_IN_VIEWS, NamedView, View

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envwatch.history.past import Past
    from envwatch.model.clock import WallMs


class Replay(NamedTuple):
    """Makes the App show the recorded moments of `Inputs.pasts` and poll nothing."""

    name: str
    profile: str
    host: str
    speed: float = 1.0
    """Recorded seconds per second, over 0."""
    at: WallMs | None = None
    """The first moment, by the recording machine's clock; None is the recording's start."""
    plays: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The App's data, and the places for its changes."""

    watch: Watch
    """Without targets in a replay."""
    export: Callable[[bytes, str], Path]
    """Writes a file with a suffix such as `.json`, and returns the path."""
    keep: Callable[..., None] = ignore
    """Saves settings by keyword: `columns`, `theme`, `bell`, `hints`."""
    user: SafeText = EMPTY
    """The author of silences and words."""
    notices: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    pasts: Mapping[SafeText, Past] = field(default_factory=dict)
    """The history by profile, empty if none is kept. In a replay, the recording."""
    readable: asyncio.Queue[SafeText] = field(default_factory=asyncio.Queue)
    """Each profile once, when its past has become readable."""
    replay: Replay | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """The settings of the screen, and the user's views, keys and commands."""

    settings: ScreenSettings = field(default_factory=ScreenSettings)
    is_filter_option: bool = False
    """Whether the command line has the query, which then takes precedence over the first view's query."""
    views: Mapping[str, NamedView] = field(default_factory=dict)
    """The user's own views by name."""
    keymap: Mapping[str, str] = field(default_factory=dict)
    """The user's keys by binding id, in Textual's form."""
    commands: CommandSettings = NO_COMMANDS
    ascii_only: bool = False

    @property
    def first_view(self) -> View:
        """The rows and columns at first."""
        first = self.settings
        plain = View(sort=first.sort, query=parse(first.filter), columns=first.columns)
        if first.view is None:
            return plain
        named = (self.views.get(first.view) or BUILT_IN_VIEWS[first.view]).chosen(plain)
        return replace(named, query=plain.query) if self.is_filter_option else named
