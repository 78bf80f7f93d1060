"""The help screen, made from the bindings themselves."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch import __version__
from envwatch.tui.terminal.textual_internals import bindings_of
from envwatch.tui.widgets.footer import KeyFooter
from envwatch.tui.widgets.pager import Pager

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult
    from textual.dom import DOMNode
    from textual.screen import Screen

    from envwatch.sources.session import Target

SECTIONS = {
    "move": "Move",
    "find": "Find",
    "sort": "Arrange",
    "baseline": "Baseline",
    "row": "Environment",
    "poll": "Polling",
    "app": "Everywhere",
}
"""Titles by the first word of a binding's id, in the order of the help."""


class Help(NamedTuple):
    """What one action does, and the keys for it."""

    id: str
    """The binding's id, else its action."""
    keys: tuple[str, ...]
    text: str


def help_sections(nodes: Iterable[DOMNode]) -> dict[str, list[Help]]:
    """Return each binding that has an id once, with all of its keys, by its section's title."""
    sections: dict[str, list[Help]] = {title: [] for title in SECTIONS.values()}
    for entry in _entries((node, binding) for node in nodes for binding in bindings_of(node) if binding.id):
        sections[SECTIONS[entry.id.partition(".")[0]]].append(entry)
    return sections


def help_on(screen: Screen[Any]) -> list[Help]:
    """Return envwatch's bindings of a screen and of what has the focus there."""
    nodes = [node for node in (screen.focused or screen).ancestors_with_self if node is not screen.app]
    ours = (node for node in nodes if type(node).__module__.startswith("envwatch."))
    bound = ((node, binding) for node in ours for binding in bindings_of(node) if binding.description)
    return _entries((node, binding) for node, binding in bound if binding.action in _own_actions(type(node)))


def _own_actions(node: type[DOMNode]) -> set[str]:
    """Return the actions that envwatch's own classes bind, without Textual's."""
    ours = (base for base in node.__mro__ if base.__module__.startswith("envwatch."))
    return {each.action for base in ours for each in Binding.make_bindings(vars(base).get("BINDINGS", ()))}


def _entries(bound: Iterable[tuple[DOMNode, Binding]]) -> list[Help]:
    """Return each action once, with all of its keys."""
    found: dict[str, tuple[str, list[str]]] = {}
    for node, binding in bound:
        keys = found.setdefault(binding.id or binding.action, (binding.description, []))[1]
        key = node.app.get_key_display(binding)
        if key not in keys:
            keys.append(key)
    return [Help(id_, tuple(keys), description) for id_, (description, keys) in found.items()]


class HelpScreen(ModalScreen[None]):
    """Every key, made from the bindings."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,enter", "dismiss", "Close", key_display="esc"),
    ]

    def __init__(self, sections: dict[str, list[Help]], targets: Iterable[Target]) -> None:
        super().__init__()
        self._access = "; ".join(f"asking {target.host} with the key from {target.key_origin}" for target in targets)
        self._sections = sections

    def compose(self) -> ComposeResult:
        """Return the table of keys, in two columns where there is room for them."""
        blocks = [self._section(title, entries) for title, entries in self._sections.items()]
        blocks.append([Content.styled("States", "bold $state-late"), *(Content(f"  {line}") for line in _LEGEND)])
        half = sum(map(len, blocks)) / 2
        with Pager(id="help"):
            credentials = f" {__version__} · {self._access}\n"
            yield Static(Content.assemble(("envwatch", "bold"), credentials), markup=False)
            with Container(id="help-columns"):
                left = [block for place, block in enumerate(blocks) if sum(map(len, blocks[: place + 1])) <= half + 2]
                for column in (left, blocks[len(left) :]):
                    yield Static(Content("\n").join(chain.from_iterable(column)), markup=False)
        yield KeyFooter()

    def _section(self, title: str, entries: Sequence[Help]) -> list[Content]:
        keys = [Content.assemble((f"  {' '.join(entry.keys):<15}", "$state-online"), entry.text) for entry in entries]
        return [Content.styled(title, "bold $state-late"), *keys, Content("")]


_LEGEND = (
    "on    heartbeat younger than 45 s (the limits can be set)",
    "late  still online, but a ping was missed: 45 s or older",
    "off   no connection, or a heartbeat of 120 s or older",
    "gone  missing from two complete listings in a row",
    "flap  it keeps coming and going",
    "clk?  clock and heartbeat contradict each other",
    "?     envwatch is blind: this was the last verdict",
)
