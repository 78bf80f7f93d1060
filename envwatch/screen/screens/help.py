"""The help screen."""

from __future__ import annotations

from itertools import chain, repeat, zip_longest
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from envwatch import __version__
from envwatch.model.limits import Limits
from envwatch.model.text import cells, composed, shortened, wrapped
from envwatch.screen.state import UNICODE, Glyphs
from envwatch.screen.terminal.app import bindings_of, own_bindings
from envwatch.screen.widgets.detail_pane import Pager
from envwatch.screen.widgets.footer import KeyFooter, has_key
from envwatch.screen.widgets.problem_block import PresentLines
from envwatch.views.pace import pace_advice
from envwatch.views.pane import legend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from textual.app import ComposeResult
    from textual.dom import DOMNode

    from envwatch.letta.poller import PolledProfile

SECTIONS: Final = {
    "move": "Move",
    "find": "Find",
    "sort": "Arrange",
    "view": "Your views",
    "baseline": "Baseline",
    "machine": "Machine",
    "command": "Your commands",
    "history": "History",
    "poll": "Polling",
    "app": "Everywhere",
}

_IN_A_TEXT: Final = "Move in the detail and other texts"
"""Title of bindings whose id begins with `move.pane_`."""

FIRST_KEYS: Final = {
    "find.filter": "find machines",
    "machine.open": "detail: what, why, what to do",
    "app.back": "back",
    "find.next_loss": "next loss",
    "machine.acknowledge": "acknowledge: I work on it",
    "machine.silence": "silence for a time",
    "app.events": "events",
    "machine.copy": "copy name, command, sentence",
    "app.help": "this help",
    "app.quit": "close, quit",
}

FIRST_FILTERS: Final = {"web": "a word", "mode:unrestricted,strict": "either", "beat:>90s": "silent long"}

_TWO_COLUMNS_FROM: Final = 100

_KEYS: Final = 15
_LABEL: Final = 8
_MANY: Final = 9
_GAP: Final = 2
_LEAST_TEXT: Final = 12

_NO_KEY: Final = "palette"

_AROUND: Final = 3
"""Lines of the screen around the help: status line, newest loss, footer."""


class Help(NamedTuple):
    """An action with keys."""

    id: str
    keys: tuple[str, ...]
    """Empty if only the palette reaches the action."""
    text: str


def help_sections(nodes: Iterable[DOMNode]) -> dict[str, list[Help]]:
    """Return all bindings with ids, by section title."""
    sections: dict[str, list[Help]] = {title: [] for title in (*SECTIONS.values(), _IN_A_TEXT)}
    for entry in help_entries((node, binding) for node in nodes for binding in bindings_of(node) if binding.id):
        section, _, name = entry.id.partition(".")
        sections[_IN_A_TEXT if name.startswith("pane_") else SECTIONS[section]].append(entry)
    return {title: entries for title, entries in sections.items() if entries}


def help_on(screen: Screen[Any]) -> list[Help]:
    """Return envwatch's bindings of a screen and the focused widget."""
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
    """A page for newcomers, then the legend and all keys.

    `here` are the keys where the user opened the help, if not in the table.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,enter", "dismiss", "Close", key_display="esc", id="help.close")
    ]

    def __init__(
        self,
        sections: Mapping[str, Sequence[Help]],
        here: Sequence[Help] = (),
        targets: Iterable[PolledProfile] = (),
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
        self._rules = targets[0].poller.limits if targets else Limits()
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
        first = Content("\n").join(self._first_page(width)).split("\n", allow_blank=True)
        second, room = [*self._second_page(width)], self.size.height - _AROUND
        is_one_page = len(first) + 1 + len(second) <= room
        between = 1 if is_one_page else room - len(first)
        lines = [*first, *[Content("")] * between, *second, *self._all_keys(width)]
        self.query_one("#help-text", Static).update(Content("\n").join(lines))

    def _first_page(self, width: int) -> Iterator[Content]:
        """Yield the newcomer's page, which fits into 80x24 below the newest loss, with air."""
        for line in chain.from_iterable(wrapped(composed(pace), width) for pace in dict.fromkeys(self._paces)):
            yield Content.styled(line, "$state-late")
        keys = [self._first[id_] for id_ in FIRST_KEYS if id_ in self._first]
        states = legend.state_entries(self._rules, ascii_only=self._glyphs.is_ascii)
        first = [legend.LegendEntry(key.keys[0] if key.keys else _NO_KEY, "online", FIRST_KEYS[key.id]) for key in keys]
        yield from _labelled("Keys", first, width)
        yield Content("")
        yield from _labelled("States", states, width, most=1)
        yield Content("")
        yield from _labelled("Pages", [legend.LegendEntry("", "", legend.paging_text())], width)
        yield Content("")
        yield Content.styled(f"{'':<{_LABEL}}page down: tags, signs, badges, filters, all keys", "$faint")

    def _second_page(self, width: int) -> Iterator[Content]:
        is_ascii = self._glyphs.is_ascii
        for label, entries in {
            "Marks": legend.mark_entries(ascii_only=is_ascii),
            "Tags": legend.tag_entries(),
            "Signs": self._marks(),
            "Status": (legend.LIVE,),
            "": legend.STATUS_ENTRIES,
            f"{self._glyphs.rule * 2} off": legend.rule_entries(),
            "Filters": [legend.LegendEntry(example, "online", meaning) for example, meaning in FIRST_FILTERS.items()],
            "24H": legend.hour_entries(ascii_only=is_ascii),
            "Past": legend.day_entries(ascii_only=is_ascii),
        }.items():
            yield from _labelled(label, entries, width)
        yield Content("")
        yield Content.styled(shortened(composed(f"envwatch {__version__}, {self._access}"), width), "$faint")
        yield Content("")

    def _marks(self) -> Sequence[legend.LegendEntry]:
        glyphs = self._glyphs
        return (
            legend.LegendEntry(glyphs.lost, "offline", "pages"),
            legend.LegendEntry(glyphs.returned, "online", "a return"),
            legend.LegendEntry("FOR", "", "time in this state"),
            legend.LegendEntry(glyphs.acknowledged, "", "acknowledged"),
            legend.LegendEntry(glyphs.silenced, "", "silenced"),
            legend.LegendEntry("BEAT", "", "age of the heartbeat"),
            legend.LegendEntry(glyphs.marked, "", "marked by space"),
            legend.LegendEntry(glyphs.behind, "", "old version"),
            legend.LegendEntry("!", "unrestricted", "approves everything"),
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
        lines = [Content.styled(title, "bold $state-late")]
        for entry in entries:
            first, *rest = wrapped(composed(entry.text), max(room - _KEYS - 2, 12))
            keys = " ".join(entry.keys)
            look = "$state-online" if keys else "$faint"
            lines.append(Content.assemble((f"  {keys or _NO_KEY:<{_KEYS}}", look), first))
            lines += [Content(" " * (_KEYS + 2) + line) for line in rest]
        return [*lines, Content("")]


def _labelled(label: str, entries: Sequence[legend.LegendEntry], width: int, most: int = _MANY) -> Iterator[Content]:
    room, titles = width - _LABEL, chain([label], repeat(""))
    widths = _widths(entries, 1)
    for columns in range(2, min(len(entries), most) + 1):
        wider = _widths(entries, columns)
        widths = wider if sum(map(sum, wider)) + _GAP * (columns - 1) <= room else widths
    for start in range(0, len(entries), len(widths)):
        parts = [Content.styled(f"{next(titles):<{_LABEL}}", "bold $state-late")]
        for (sign, style, meaning), (sign_cells, text_cells) in zip(entries[start:], widths, strict=False):
            look = f"bold $state-{style}" if style else "bold"
            text = wrapped(composed(meaning), max(room - sign_cells, _LEAST_TEXT)) if len(widths) == 1 else [meaning]
            parts.append(Content.styled(sign, look).pad_right(sign_cells - cells(sign)))
            parts.append(Content(text[0]).pad_right(text_cells - cells(text[0]) + _GAP))
            parts += [Content(f"\n{' ' * (_LABEL + sign_cells)}{rest}") for rest in text[1:]]
        yield Content("").join(parts)


def _widths(entries: Sequence[legend.LegendEntry], columns: int) -> Sequence[tuple[int, int]]:
    parts = [entries[place::columns] for place in range(columns)]
    return [(max(cells(e.sign) + bool(e.sign) for e in part), max(cells(e.meaning) for e in part)) for part in parts]
