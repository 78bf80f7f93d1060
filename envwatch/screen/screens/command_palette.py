"""The command palette: actions, profiles, settings and machines."""

from __future__ import annotations

import re
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider, SearchIcon
from textual.content import Content

from envwatch.query.lexer import quote_if_needed
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.help import SECTIONS, help_entries
from envwatch.screen.widgets.footer import HELP_WHILE_TYPING, KeyFooter
from envwatch.screen.widgets.problem_block import PresentLines

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from textual.app import ComposeResult
    from textual.fuzzy import Matcher

    from envwatch.screen.terminal.app import TerminalApp

_PREFIX_SCORE = 1_000

MAX_ENVIRONMENTS = 50

_EDGES = 5

_NOT_OFFERED = {None, "app.palette", "app.interrupt"}
"""The palette itself, and ctrl+c, because another command quits."""

_SECTIONS = [*(section for section in SECTIONS if section != "move"), "move"]


def _place(binding: Binding) -> int:
    section = (binding.id or "").partition(".")[0]
    return _SECTIONS.index(section) if section in _SECTIONS else len(_SECTIONS)


class Palette(CommandPalette):
    """Textual's palette with a footer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "escape", "Close", key_display="esc", id="palette.close"),
        HELP_WHILE_TYPING,
    ]

    def compose(self) -> ComposeResult:
        yield PresentLines()
        yield from super().compose()
        yield KeyFooter()

    def on_mount(self) -> None:
        self.query_one(SearchIcon).icon = ":"


class Commands(Provider):
    """Provides the entries."""

    async def discover(self) -> Hits:
        for title, key, run in self._actions():
            yield DiscoveryHit(self._line(Content(title), key), run, text=title)

    async def search(self, query: str) -> Hits:
        is_empty = True
        async for hit in self._found(query):
            is_empty = False
            yield hit
        if is_empty and isinstance(self.screen, Dashboard):
            title = f"Nothing is called {query.strip()}: ⏎ filters the machines by these words"
            run = partial(self.screen.filter_by, query.strip())
            yield Hit(1.0, self._line(Content(title), ""), run, text=title)

    async def _found(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for title, key, run in self._actions():
            if _has(title, query):
                yield Hit(_score(matcher, title), self._line(matcher.highlight(title), key), run, text=title)
        if isinstance(self.screen, Dashboard):
            for title, key, choose in self._profiles(self.screen):
                if _has(title, query):
                    yield Hit(_score(matcher, title), self._line(Content(title), key), choose, text=title)
            for title, take in cast("TerminalApp", self.app).settings_to_choose():
                if _has(title, query):
                    yield Hit(_score(matcher, title), self._line(matcher.highlight(title), "setting"), take, text=title)
            for hit in self._environments(self.screen, matcher):
                yield hit

    def _line(self, left: Content, right: str) -> Content:
        room = max(self.app.size.width - _EDGES - len(right) - 1, 1)
        return Content.assemble(
            left.truncate(room, ellipsis=True).pad_right(max(room - left.cell_length, 0)), " ", right
        )

    def _actions(self) -> Iterator[tuple[str, str, partial[Coroutine[Any, Any, bool]]]]:
        active = sorted(self.screen.active_bindings.values(), key=lambda each: _place(each.binding))
        not_offered = _NOT_OFFERED | self._refused()
        offered = [each for each in active if each.enabled and each.binding.id not in not_offered]
        first = {each.binding.id: each for each in reversed(offered)}
        for entry in help_entries((each.node, each.binding) for each in offered):
            node, binding, *_ = first[entry.id]
            yield entry.text, " ".join(entry.keys), partial(self.app.run_action, binding.action, node)

    def _refused(self) -> set[str]:
        """Return the ids of the keys that the token may not use here."""
        if isinstance(self.screen, Dashboard) and not self.screen.may_acknowledge(self.screen.target):
            return {"machine.acknowledge"}
        return set()

    @staticmethod
    def _profiles(dashboard: Dashboard) -> Iterator[tuple[str, str, partial[None]]]:
        fleet = dashboard.state.monitor.fleet
        for profile in fleet.by_profile if fleet.are_several else ():
            query = f"profile:{quote_if_needed(profile)}"
            yield f"Profile {profile} only", f"filter {query}", partial(dashboard.filter_by, query)
        if dashboard.state.schedules:
            how = "another profile: start envwatch with --profile NAME, or --profile NAME,NAME"
            yield "Another profile …", "", partial(dashboard.show_message, how)

    def _environments(self, dashboard: Dashboard, matcher: Matcher) -> Iterator[Hit]:
        query = matcher.query.casefold()
        names = (
            (tracked, tracked.environment.label.casefold()) for tracked in dashboard.state.monitor.fleet.environments
        )
        found = [(not name.startswith(query), tracked) for tracked, name in names if query in name]
        for _, tracked in sorted(found, key=itemgetter(0))[:MAX_ENVIRONMENTS]:
            name = tracked.environment.label
            origin = "".join(f"  {part}" for part in (tracked.profile, tracked.environment.id) if part)
            yield Hit(
                _score(matcher, name),
                self._line(Content.assemble(name, (origin, "dim")), tracked.presence),
                partial(dashboard.select, tracked.key),
                text=name,
            )


def _has(title: str, query: str) -> bool:
    """Whether a title contains a query, or words with these beginnings: `show of`."""
    query, title = query.casefold(), title.casefold()
    letters = r"(?:|.*?\b)".join(map(re.escape, "".join(query.split())))
    return query.strip() in title or re.search(rf"\b{letters}", title) is not None


def _score(matcher: Matcher, text: str) -> float:
    return matcher.match(text) + _PREFIX_SCORE * text.casefold().startswith(matcher.query.casefold())
