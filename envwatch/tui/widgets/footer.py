"""What the keys do: the line at the foot of the screen and the help screen, both made from the bindings themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

from textual.binding import Binding

from envwatch.model.text import cells
from envwatch.tui.terminal.textual_internals import declared_actions
from envwatch.tui.widgets.line import Part, TextLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.dom import DOMNode
    from textual.events import Click


HELP = Binding("question_mark,f1", "app.help", "Help", key_display="?")
"""For every screen over the dashboard: what is bound in the app reaches none of them."""
HELP_WHILE_TYPING = Binding("f1", "app.help", "Help", key_display="F1")


class _Key(NamedTuple):
    """A key that works now."""

    node: DOMNode
    binding: Binding
    display: str
    label: str


class KeyFooter(TextLine):
    """The keys that work now, as many as fit; a click on one does what the key does."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key"}
    GAP = 1

    _shown: Sequence[_Key] = ()
    """As they were last drawn."""

    def on_mount(self) -> None:
        """Follow the bindings."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return key and label in turn."""
        keys = self._keys()
        while keys and self._taken(self._parts_of(keys)) > self.size.width:
            del keys[-1]
        self._shown = keys
        return self._parts_of(keys), []

    @staticmethod
    def _parts_of(keys: Iterable[_Key]) -> list[Part]:
        return [part for key in keys for part in (Part(key.display, "key"), Part(f"{key.label} "))]

    def _keys(self) -> list[_Key]:
        """Return the keys to be shown, whatever they were changed to, in the order in which they are declared."""
        screen = self.screen
        found: dict[str, _Key] = {}
        for node, binding, enabled, _ in screen.active_bindings.values():
            label = screen.label_of(binding) if isinstance(screen, LabelsKeys) else binding.description
            if binding.show and enabled and label:
                found.setdefault(binding.action, _Key(node, binding, self.app.get_key_display(binding), label))
        nodes = [key.node for key in found.values()]
        return sorted(found.values(), key=lambda key: (nodes.index(key.node), _declared_at(key)))

    def on_click(self, event: Click) -> None:
        """Do what the key under the pointer does."""
        right = 1
        for key in self._shown:
            right += sum(cells(part.text) + self.GAP for part in self._parts_of([key]))
            if event.x < right:
                # By the app, as if the key had been pressed: what opens a screen there binds it to the app.
                self.app.call_later(self.app.run_action, key.binding.action, key.node)
                return


def _declared_at(key: _Key) -> int:
    """Return the place of a key's action among those of its node; keys of the user's own move theirs to the end."""
    actions = declared_actions(type(key.node))
    return actions.index(key.binding.action) if key.binding.action in actions else len(actions)


@runtime_checkable
class LabelsKeys(Protocol):
    """A screen that knows what its keys are good for now."""

    def label_of(self, binding: Binding) -> str | None:
        """Return what a key does now in a word or two, None if it would only say that there is nothing to do."""
        ...
