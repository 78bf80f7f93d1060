"""What the keys do: the line at the foot of the screen and the help screen, both made from the bindings themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from envwatch import __version__
from envwatch.tui.lines import Line, Part
from envwatch.tui.pager import Pager

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
            binding.action: binding
            for _, binding, enabled, _ in reversed(active)
            if binding.show and enabled and self._is_useful(binding.action)
        }
        parts: list[Part] = []
        for weight, binding in zip(range(len(first_keys), 0, -1), reversed(first_keys.values()), strict=True):
            key = self.app.get_key_display(binding)
            parts += [Part(key, "key", weight), Part(f"{binding.description} ", "", weight)]
        while parts and self._taken(parts) > self.size.width:
            del parts[-2:]  # a key goes with its label
        return parts, []

    def _is_useful(self, action: str) -> bool:
        """Whether a key would do more than say that there is nothing to do."""
        screen = self.screen
        return screen.is_useful(action) if isinstance(screen, Choosy) else True


@runtime_checkable
class Choosy(Protocol):
    """A screen that knows which of its keys are of use now."""

    def is_useful(self, action: str) -> bool:
        """Whether an action would do more than say that there is nothing to do."""
        ...


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
    sections: dict[str, list[Help]] = {title: [] for title in SECTIONS.values()}
    for id_, (binding, keys) in found.items():
        sections[SECTIONS[id_.partition(".")[0]]].append(Help(id_, tuple(keys), binding.description))
    return sections


class HelpScreen(ModalScreen[None]):
    """Every key, made from the bindings; whatever is bound stands here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,enter", "dismiss", "Close", key_display="esc"),
    ]

    def __init__(self, sections: dict[str, list[Help]], posts: Iterable[Post]) -> None:
        super().__init__()
        self._access = "; ".join(f"asking {post.host} with the key from {post.key_origin}" for post in posts)
        self._sections = sections

    def compose(self) -> ComposeResult:
        """Return the table of keys, in two columns where there is room for them."""
        parts = [self._section(title, entries) for title, entries in self._sections.items()]
        parts.append([Content.styled("States", "bold $state-late"), *(Content(f"  {line}") for line in _LEGEND)])
        half = sum(map(len, parts)) / 2
        with Pager(id="help"):
            access = f" {__version__} · {self._access}\n"
            yield Static(Content.assemble(("envwatch", "bold"), access), markup=False)
            with Container(id="help-columns"):
                left = [part for place, part in enumerate(parts) if sum(map(len, parts[: place + 1])) <= half + 2]
                for column in (left, parts[len(left) :]):
                    yield Static(Content("\n").join(line for part in column for line in part), markup=False)
        yield KeyLine()

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
