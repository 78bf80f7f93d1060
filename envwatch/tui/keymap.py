"""Keys of the user's own: which bindings can be given others, and what is wrong with a wish.

Owns the check before the screen is taken. Giving the keys is Textual's business: `App.set_keymap`.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from envwatch.model.text import Clean, clean, did_you_mean, shortened
from envwatch.tui.app import EnvwatchApp
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.widgets.detail_pane import DetailPane
from envwatch.tui.widgets.environment_table import EnvironmentTable
from envwatch.tui.widgets.filter_bar import FilterBar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from textual.dom import DOMNode

_MODIFIERS: Final = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
_NAMED: Final = frozenset(key.value for key in Keys) | frozenset(KEY_NAME_REPLACEMENTS.values())
"""Keys that are no characters, and characters that Textual calls otherwise than Unicode."""

_NODES: Final[tuple[type[DOMNode], ...]] = (EnvironmentTable, DetailPane, FilterBar, Dashboard, EnvwatchApp)
_TOGETHER: Final[tuple[tuple[type[DOMNode], ...], ...]] = (
    (EnvironmentTable, Dashboard, EnvwatchApp),
    (DetailPane, Dashboard, EnvwatchApp),
)
"""Nodes whose keys work at the same time; in the filter box, most keys are letters."""


def binding_ids() -> tuple[str, ...]:
    """Return the id of every binding that can be given other keys."""
    return tuple(dict.fromkeys(id_ for id_, _ in _defaults(_NODES)))


def keymap_of(keys: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return wishes in Textual's form."""
    return {id_: ",".join("comma" if key == "," else key for key in wanted) for id_, wanted in keys.items()}


def mistakes(keys: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, Clean]]:
    """Yield the id and the mistake, as it goes on from the id, for each wish that cannot be granted."""
    known = binding_ids()
    for id_, wanted in keys.items():
        if id_ not in known:
            yield id_, Clean(f"is no binding{did_you_mean(id_, known)}")
            continue
        unknown = next((key for key in wanted if not _is_key(key)), None)
        if unknown is not None or not any(True for _ in wanted):
            told = shortened(clean(unknown or ""), 20) or "nothing"
            yield id_, Clean(f"cannot have {told} as a key; write x, f5, ctrl+x or question_mark")
        elif clash := _clash(id_, keys):
            yield id_, Clean(f"has a key that {clash} has too: give that another one")


def _clash(id_: str, keys: Mapping[str, Iterable[str]]) -> str | None:
    """Return the id of another binding on one of the keys that a binding gets, if both work at the same time."""
    for nodes in _TOGETHER:
        holders = [(other, _long(key)) for other, key in _defaults(nodes) if other not in keys]
        ids = {other for other, _ in _defaults(nodes)}
        holders += [(other, _long(key)) for other, wanted in keys.items() if other in ids for key in wanted]
        mine = {key for other, key in holders if other == id_}
        if found := next((other for other, key in holders if other != id_ and key in mine), None):
            return found
    return None


def _defaults(nodes: Iterable[type[DOMNode]]) -> Iterator[tuple[str, str]]:
    """Yield the id and one key of each binding."""
    ours = (base for node in nodes for base in node.__mro__ if base.__module__.startswith("envwatch."))
    for base in dict.fromkeys(ours):
        bindings: Iterable[Any] = Binding.make_bindings(vars(base).get("BINDINGS", ()))
        yield from ((binding.id, binding.key) for binding in bindings if binding.id)


def _long(key: str) -> str:
    """Return a key by the name that Textual gives it."""
    if key == ",":
        return "comma"
    return next(iter(Binding.make_bindings([Binding(key, "none", "")]))).key


def _is_key(key: str) -> bool:
    """Whether a terminal could send it: `x`, `f5`, `ctrl+x`, `question_mark`."""
    *modifiers, name = key.split("+") if key != "+" else [key]
    if not set(modifiers) <= _MODIFIERS or not name:
        return False
    if len(name) == 1:
        return name.isprintable() and name != " "
    if name in _NAMED or key in _NAMED:
        return True
    try:
        return bool(unicodedata.lookup(name.replace("_", " ")))
    except KeyError:
        return False
