"""What widgets, screens and the app need of Textual's private parts, as functions.

Ruff's SLF001 is switched off for this package only, and tests/tui/test_textual_internals.py keeps it so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.binding import Binding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.dom import DOMNode


def bindings_of(node: DOMNode) -> Iterator[Binding]:
    """Yield a node's own and inherited bindings, with the user's keys in place of the defaults."""
    bindings = node._bindings.copy()
    bindings.apply_keymap(node.app._keymap)
    return (binding for _, binding in bindings)


def own_bindings(node: type[DOMNode]) -> Iterator[Binding]:
    """Yield the bindings that envwatch's own classes among the bases of a node declare, with one key each."""
    for base in node.__mro__:
        if base.__module__.startswith("envwatch."):
            yield from Binding.make_bindings(vars(base).get("BINDINGS", ()))


def add_binding(node: DOMNode, binding: Binding) -> None:
    """Add a binding to a node that is not known when its class is made."""
    node._bindings._add_binding(binding)


def declared_actions(node: type[DOMNode]) -> list[str]:
    """Return the actions of a class's bindings in the order of declaration, which a keymap does not change."""
    return [binding.action for _, binding in node._merged_bindings or ()]


def forget_detached_watchers(node: DOMNode) -> None:
    """Drop watchers that closed screens left on a node, and with them the state that those screens hold.

    Textual drops the watchers of a reactive at the reactive's next change, and some reactives never change.
    """
    for watchers in getattr(node, "__watchers", {}).values():
        watchers[:] = [(watcher, callback) for watcher, callback in watchers if watcher.is_attached]
