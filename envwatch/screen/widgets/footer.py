"""The footer with the active keys."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.binding import Binding
from textual.reactive import reactive
from textual.widgets import Input

from envwatch.model.text import cells
from envwatch.screen.terminal.app import declared_actions
from envwatch.screen.widgets.line import TextLine
from envwatch.views.fitting import GAP, Part, Row, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from textual.dom import DOMNode
    from textual.events import Click
    from textual.timer import Timer


HELP: Final = Binding("question_mark,f1", "app.help", "Help", key_display="?", id="app.help")
"""The help's key on modal screens, which lack the App's bindings."""
HELP_WHILE_TYPING: Final = Binding("f1", "app.help", "Help", key_display="F1", id="text.help")

_NO_KEY: Final = "no-key-"
_ANSWER_S: Final = 2.5
_KEPT: Final = frozenset({"app.help", "app.quit"})
"""These keys stay where space is short."""
_ANSWER_WEIGHT: Final = 2_000
_KEPT_WEIGHT: Final = 1_000
_MORE_WEIGHT: Final = -1_000
_LAST: Final = _KEPT | {"app.palette"}


def keyless_binding(action: str, description: str, id_: str, *, show: bool = False) -> Binding:
    """Return a binding for palette and user keys; Textual requires a key."""
    return Binding(f"{_NO_KEY}{id_}", action, description, show=show, id=id_)


def has_key(binding: Binding) -> bool:
    """Whether a terminal can send the key."""
    return not binding.key.startswith(_NO_KEY)


class _Key(NamedTuple):
    node: DOMNode
    binding: Binding
    display: str
    label: str


class KeyFooter(TextLine):
    """The active keys that fit; a click acts like the key.

    Args:
        label_of: returns a key's label, or None without an effect.
        order: actions that follow all others.
        more_labels: returns labels for a wide footer by action, the most useful first.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"line--key", "line--faint"}
    _said: reactive[str] = reactive("")

    _timer: Timer | None = None

    def __init__(
        self,
        *,
        label_of: Callable[[Binding], str | None] = attrgetter("description"),
        order: Sequence[str] = (),
        more_labels: Callable[[], Mapping[str, str]] = dict,
        takes_click: Callable[[Binding], bool] = lambda _: True,
    ) -> None:
        super().__init__()
        self._label_of = label_of
        self._order = order
        self._more_labels = more_labels
        self._takes_click = takes_click

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def say(self, text: str) -> None:
        self._said = text
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_ANSWER_S, lambda: setattr(self, "_said", ""))

    def parts(self) -> Row:
        left = [part for key, weight in self._weighed_keys() for part in _parts_of(key, weight)]
        return left, [Part(self._said, "faint", _ANSWER_WEIGHT)] if self._said else []

    def _weighed_keys(self) -> list[tuple[_Key, int]]:
        """Return the keys in order, with the weight of each: the first of the usual keys stays longest."""
        keys = [(key, _KEPT_WEIGHT - n if key.binding.id in _KEPT else -n) for n, key in enumerate(self._keys())]
        more = [(key, _MORE_WEIGHT - n) for n, key in enumerate(self._more_keys())]
        place = next((n for n, (key, _) in enumerate(keys) if key.binding.id in _LAST), len(keys))
        return [*keys[:place], *more, *keys[place:]]

    def _keys(self) -> list[_Key]:
        found: dict[str, _Key] = {}
        is_typing = isinstance(self.app.focused, Input)
        for node, binding, enabled, _ in self.screen.active_bindings.values():
            label = self._label_of(binding)
            display = self.app.get_key_display(binding)
            is_text = is_typing and display.isascii() and len(display) == 1  # such as `:` of `:,ctrl+p`
            if binding.show and has_key(binding) and enabled and label and not is_text:
                found.setdefault(binding.action, _Key(node, binding, display, label))
        nodes = [key.node for key in found.values()]
        order = self._order

        def place(key: _Key) -> tuple[int, int, int]:
            action = key.binding.action
            return order.index(action) if action in order else -1, nodes.index(key.node), _declared_at(key)

        return sorted(found.values(), key=place)

    def _more_keys(self) -> list[_Key]:
        if isinstance(self.app.focused, Input):
            return []
        active = {each.binding.action: each for each in self.screen.active_bindings.values() if each.enabled}
        return [
            _Key(each.node, each.binding, self.app.get_key_display(each.binding), label)
            for action, label in self._more_labels().items()
            if (each := active.get(action)) is not None and has_key(each.binding)
        ]

    def on_click(self, event: Click) -> None:
        keys = {key.display: key for key, _ in self._weighed_keys()}
        visible, _ = fit(*self.parts(), self.size.width)
        right = 1
        for display, label in zip(visible[::2], visible[1::2], strict=True):
            right += cells(display.text) + cells(label.text) + GAP
            if event.x < right:
                key = keys[display.text]
                if not self._takes_click(key.binding):
                    return
                # The App runs the action: a screen opened there is bound to the App's data.
                self.app.call_later(self.app.run_action, key.binding.action, key.node)
                return


def _parts_of(key: _Key, weight: int) -> tuple[Part, Part]:
    return Part(key.display, "key", weight), Part(f" {key.label}", weight=weight, is_joined=True)


def _declared_at(key: _Key) -> int:
    """Return the declared place, because a keymap moves user keys to the end."""
    actions = declared_actions(type(key.node))
    return actions.index(key.binding.action) if key.binding.action in actions else len(actions)
