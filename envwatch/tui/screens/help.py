"""The help."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch import __version__
from envwatch.model.limits import Limits
from envwatch.model.text import composed, shortened, wrapped
from envwatch.query.completion import HELP as FILTER_EXAMPLES
from envwatch.tui.state import UNICODE, Glyphs
from envwatch.tui.terminal.textual_internals import bindings_of, own_bindings
from envwatch.tui.widgets.detail_pane import Pager
from envwatch.tui.widgets.footer import KeyFooter, has_key
from envwatch.tui.widgets.problem_block import PresentLines
from envwatch.views.pace import pace_advice
from envwatch.views.pane.legend import TAGS_LAST, LegendEntry, day_entries, hour_entries, state_entries, tag_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from textual.app import ComposeResult
    from textual.dom import DOMNode
    from textual.screen import Screen

    from envwatch.sources.poller import Target

SECTIONS: Final = {
    "move": "Move",
    "find": "Find",
    "sort": "Arrange",
    "view": "Your views",
    "baseline": "Baseline",
    "row": "Environment",
    "command": "Your commands",
    "history": "History",
    "poll": "Polling",
    "app": "Everywhere",
}

_IN_A_TEXT: Final = "Move in the detail and other texts"
"""The title of bindings whose id begins with `move.pane`."""

FIRST_KEYS: Final = {
    "find.next_problem": "next loss",
    "row.open": "detail; again: into it",
    "app.back": "back one layer",
    "find.filter": "filter",
    "find.reset": "show everything again",
    "app.events": "what happened",
    "row.acknowledge": "acknowledge",
    "row.copy": "copy, then a letter",
    "app.palette": "every command by name",
    "app.quit": "close a layer, or quit",
}

FIRST_FILTERS: Final = ("web", "mode:unrestricted,strict", "beat:>90s")

_TWO_COLUMNS_FROM: Final = 100

_KEYS: Final = 15

_NO_KEY: Final = "palette"
"""Shown for an action without a default key."""


class Help(NamedTuple):
    """An action and the keys."""

    id: str
    keys: tuple[str, ...]
    """Empty if only the palette reaches the action."""
    text: str


def help_sections(nodes: Iterable[DOMNode]) -> dict[str, list[Help]]:
    """Return each binding with an id once, by section title."""
    sections: dict[str, list[Help]] = {title: [] for title in (*SECTIONS.values(), _IN_A_TEXT)}
    for entry in help_entries((node, binding) for node in nodes for binding in bindings_of(node) if binding.id):
        section, _, name = entry.id.partition(".")
        sections[_IN_A_TEXT if name.startswith("pane_") else SECTIONS[section]].append(entry)
    return {title: entries for title, entries in sections.items() if entries}


def help_on(screen: Screen[Any]) -> list[Help]:
    """Return envwatch's own bindings of a screen and the focused widget."""
    nodes = [node for node in (screen.focused or screen).ancestors_with_self if node is not screen.app]
    own_actions = {node: {binding.action for binding in own_bindings(type(node))} for node in nodes}
    bound = ((node, binding) for node in nodes for binding in bindings_of(node) if binding.description)
    return help_entries((node, binding) for node, binding in bound if binding.action in own_actions[node])


def help_entries(bound: Iterable[tuple[DOMNode, Binding]]) -> list[Help]:
    """Return each action once, with all keys."""
    found: dict[str, tuple[str, list[str]]] = {}
    for node, binding in bound:
        keys = found.setdefault(binding.id or binding.action, (binding.description, []))[1]
        key = node.app.get_key_display(binding)
        if has_key(binding) and key not in keys:
            keys.append(key)
    return [Help(id_, tuple(keys), description) for id_, (description, keys) in found.items()]


class HelpScreen(ModalScreen[None]):
    """The legend, ten keys and three filters, then the keys of this place and all keys.

    `here` has the keys of the place where the user opened the help, if not the table.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,enter", "dismiss", "Close", key_display="esc", id="help.close"),
    ]

    def __init__(
        self,
        sections: Mapping[str, Sequence[Help]],
        here: Sequence[Help] = (),
        targets: Iterable[Target] = (),
        glyphs: Glyphs = UNICODE,
    ) -> None:
        super().__init__()
        targets = list(targets)
        self._access = "; ".join(f"asking {target.host} with the key from {target.key_origin}" for target in targets)
        self._paces = [
            f"{target.profile}: {advice}" if len(targets) > 1 else str(advice)
            for target in targets
            if (advice := pace_advice(target.poller.limits, target.poller.cost)) is not None
        ]
        self._rules = targets[0].limits if targets else Limits()
        self._glyphs = glyphs
        self._sections = {"Here": here, **sections} if here else sections
        self._first = {entry.id: entry for entry in chain.from_iterable(sections.values())}

    def compose(self) -> ComposeResult:
        yield PresentLines()
        with Pager(id="help"):
            yield Static(id="help-text", markup=False)
        yield KeyFooter()

    def on_resize(self) -> None:
        width = max(self.size.width - 3, 20)
        lines = [*self._first_page(width), *self._all_keys(width)]
        self.query_one("#help-text", Static).update(Content("\n").join(lines))

    def _first_page(self, width: int) -> Iterator[Content]:
        for line in chain.from_iterable(wrapped(composed(pace), width) for pace in dict.fromkeys(self._paces)):
            yield Content.styled(line, "$state-late")
        yield _title(f"States of environments{' ' * 34}envwatch {__version__}"[:width])
        yield from _in_columns(_signs(state_entries(self._rules, ascii_only=self._glyphs.is_ascii), 7), width, 2)
        yield _title(f"Changes, shown for {TAGS_LAST}")
        yield from _in_columns(_signs(tag_entries(), 6), width, 4)
        yield from _in_columns(_signs(self._marks(), 5), width, 3)
        yield _title("Past hours (24H): the worst state of each hour")
        yield from _in_columns(_signs(hour_entries(ascii_only=self._glyphs.is_ascii), 3), width, 5)
        yield _title("Ten keys")
        first = [self._first[id_]._replace(text=text) for id_, text in FIRST_KEYS.items() if id_ in self._first]
        yield from _in_columns([_line(entry, 5) for entry in first], width, 2)
        yield _title("Filters: all terms must hold")
        examples = dict(FILTER_EXAMPLES)
        for example in FIRST_FILTERS:
            yield Content.assemble((f"  {example:<26}", "$state-online"), examples[example])
        yield Content.styled(shortened(composed(self._access), width), "$faint")
        yield Content("")
        yield _title("Line of events, while the screen shows the past")
        yield from _in_columns(_signs(day_entries(ascii_only=self._glyphs.is_ascii), 3), width, 4)
        yield Content("")

    def _marks(self) -> Sequence[LegendEntry]:
        glyphs = self._glyphs
        return (
            LegendEntry(glyphs.lost, "offline", "needs a person"),
            LegendEntry(glyphs.returned, "online", "a return"),
            LegendEntry(glyphs.behind, "", "old version"),
            LegendEntry(glyphs.acknowledged, "", "acknowledged"),
            LegendEntry(glyphs.silenced, "", "silenced, or quiet"),
            LegendEntry("!", "unrestricted", "approves everything"),
        )

    def _all_keys(self, width: int) -> Iterator[Content]:
        columns = 2 if self.size.width >= _TWO_COLUMNS_FROM else 1
        room = width // columns - 1
        blocks = [self._section(title, entries, room) for title, entries in self._sections.items()]
        total = sum(map(len, blocks))
        left: list[Content] = []
        while blocks and (columns == 1 or len(left) + len(blocks[0]) <= total / 2 + 2):
            left += blocks.pop(0)
        for one, other in zip_longest(left, chain.from_iterable(blocks), fillvalue=Content("")):
            yield one.pad_right(max(room + 1 - one.cell_length, 0)) + other if columns == 2 else one

    def _section(self, title: str, entries: Iterable[Help], room: int) -> list[Content]:
        lines = [_title(title)]
        for entry in entries:
            first, *rest = wrapped(composed(entry.text), max(room - _KEYS - 2, 12))
            lines.append(_line(entry._replace(text=first), _KEYS))
            lines += [Content(" " * (_KEYS + 2) + line) for line in rest]
        return [*lines, Content("")]


def _title(text: str) -> Content:
    return Content.styled(text, "bold $state-late")


def _line(entry: Help, keys: int) -> Content:
    text = " ".join(entry.keys)
    return Content.assemble((f"  {text or _NO_KEY:<{keys}}", "$state-online" if text else "$faint"), entry.text)


def _signs(entries: Iterable[LegendEntry], width: int) -> list[Content]:
    return [
        Content.assemble((f"  {sign:<{width}}", f"bold $state-{style}" if style else "bold"), meaning)
        for sign, style, meaning in entries
    ]


def _in_columns(lines: Sequence[Content], width: int, columns: int) -> Iterator[Content]:
    room = width // columns
    if max((line.cell_length for line in lines), default=0) >= room + 2:
        yield from lines
        return
    for start in range(0, len(lines), columns):
        row = lines[start : start + columns]
        yield Content.assemble(*(each.pad_right(max(room - each.cell_length, 0)) for each in row))
