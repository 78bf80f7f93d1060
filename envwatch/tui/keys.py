"""What the keys do: the line at the foot of the screen and the help screen, both made from the bindings themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch import __version__
from envwatch.tui.lines import Line, Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult
    from textual.dom import DOMNode

    from envwatch.posts import Post


class KeyLine(Line):
    """The keys that work now, as many as fit."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key"}
    GAP = 1

    def on_mount(self) -> None:
        """Follow the bindings."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return key and label in turn."""
        active = self.screen.active_bindings.values()
        first_keys = {
            binding.action: binding for _, binding, enabled, _ in reversed(active) if binding.show and enabled
        }
        parts: list[Part] = []
        for weight, binding in zip(range(len(first_keys), 0, -1), reversed(first_keys.values()), strict=True):
            key = self.app.get_key_display(binding)
            parts += [Part(key, "key", weight), Part(f"{binding.description} ", "", weight)]
        while parts and self._taken(parts) > self.size.width:
            del parts[-2:]  # a key goes with its label
        return parts, []


_SECTIONS = {
    "move": "Move",
    "find": "Find",
    "sort": "Sort",
    "row": "Environment",
    "poll": "Polling",
    "app": "Everywhere",
}
"""Titles by the first word of a binding's id, in the order of the help."""


class Help(NamedTuple):
    """What one action does, and the keys for it."""

    id: str
    keys: tuple[str, ...]
    text: str


def helps(nodes: Iterable[DOMNode]) -> dict[str, list[Help]]:
    """Return every binding that has an id under its section's title, once, with all of its keys."""
    found: dict[str, tuple[Binding, list[str]]] = {}
    for node in nodes:
        bindings = node._bindings.copy()  # noqa: SLF001  Textual's own help panel reads them too
        bindings.apply_keymap(node.app._keymap)  # noqa: SLF001  the user's keys, which Textual has no other way to
        for _, binding in bindings:
            if binding.id:
                keys = found.setdefault(binding.id, (binding, []))[1]
                key = node.app.get_key_display(binding)
                if key not in keys:
                    keys.append(key)
    sections: dict[str, list[Help]] = {title: [] for title in _SECTIONS.values()}
    for id_, (binding, keys) in found.items():
        sections[_SECTIONS[id_.partition(".")[0]]].append(Help(id_, tuple(keys), binding.description))
    return sections


class HelpScreen(ModalScreen[None]):
    """Every key, made from the bindings; whatever is bound stands here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,enter", "dismiss", "Close", show=True),
        Binding("j,down", "scroll('down')", show=False),
        Binding("k,up", "scroll('up')", show=False),
    ]

    def __init__(self, sections: dict[str, list[Help]], posts: Iterable[Post]) -> None:
        super().__init__()
        self._access = "; ".join(f"asking {post.host} with the key from {post.key_origin}" for post in posts)
        self._sections = sections

    def compose(self) -> ComposeResult:
        """Return the table of keys."""
        with VerticalScroll(id="help"):
            yield Static(self._text(), markup=False)

    def _text(self) -> Content:
        lines = [Content.assemble(("envwatch", "bold"), f" {__version__} · {self._access}"), Content("")]
        for title, entries in self._sections.items():
            lines.append(Content.styled(title, "bold $state-late"))
            lines += [
                Content.assemble(("  " + f"{' '.join(entry.keys):<22}", "$state-online"), entry.text)
                for entry in entries
            ]
            lines.append(Content(""))
        lines += [
            Content.styled("States", "bold $state-late"),
            *(Content(f"  {line}") for line in _LEGEND),
        ]
        return Content("\n").join(lines)

    def action_scroll(self, direction: str) -> None:
        """Scroll by a line."""
        pane = self.query_one("#help", VerticalScroll)
        (pane.scroll_down if direction == "down" else pane.scroll_up)(animate=False)


_LEGEND = (
    "on    heartbeat younger than 45 s (the limits can be set)",
    "late  still online, but a ping was missed: 45 s or older",
    "off   no connection, or a heartbeat of 120 s or older",
    "gone  missing from two complete listings in a row",
    "flap  it keeps coming and going",
    "clk?  clock and heartbeat contradict each other",
    "?     envwatch is blind: this was the last verdict",
)
