"""Functions over Textual's private parts.

Ruff's SLF001 is off only for this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual._styles_cache import StylesCache
from textual.binding import Binding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.dom import DOMNode


def bindings_of(node: DOMNode) -> Iterator[Binding]:
    """Yield bindings with the user's keys."""
    bindings = node._bindings.copy()
    bindings.apply_keymap(node.app._keymap)
    return (binding for _, binding in bindings)


def own_bindings(node: type[DOMNode]) -> Iterator[Binding]:
    """Yield the bindings of envwatch's classes, with one key each."""
    for base in node.__mro__:
        if base.__module__.startswith("envwatch."):
            yield from Binding.make_bindings(vars(base).get("BINDINGS", ()))


def add_binding(node: DOMNode, binding: Binding) -> None:
    """Add a binding to a node at run time."""
    node._bindings._add_binding(binding)


def declared_actions(node: type[DOMNode]) -> list[str]:
    """Return actions in declaration order, whatever the keymap."""
    return [binding.action for _, binding in node._merged_bindings or ()]


def forget_closed_widgets() -> None:
    """Drop closed widgets with their drawn lines: a cache of backgrounds, a method's, keeps the last 1,024 widgets."""
    StylesCache.get_inner_outer.cache_clear()


def forget_detached_watchers(node: DOMNode) -> None:
    """Drop the watchers of closed screens, which hold the screens' state.

    Textual drops watchers at a reactive's next change, and some reactives never change.
    """
    for watchers in getattr(node, "__watchers", {}).values():
        watchers[:] = [(watcher, callback) for watcher, callback in watchers if watcher.is_attached]
