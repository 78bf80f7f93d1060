"""The user's own keys: which bindings can be changed, and what is wrong with a setting.

Checks before the screen starts; `App.set_keymap` of Textual applies the keys.
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
"""Names of keys that are no characters, and of characters to which Textual gives other names than Unicode."""

_NODES: Final[tuple[type[DOMNode], ...]] = (EnvironmentTable, DetailPane, FilterBar, Dashboard, EnvwatchApp)
_ACTIVE_TOGETHER: Final[tuple[tuple[type[DOMNode], ...], ...]] = (
    (EnvironmentTable, Dashboard, EnvwatchApp),
    (DetailPane, Dashboard, EnvwatchApp),
)
"""Nodes whose keys work at the same time; in the filter bar, most keys are text."""


def binding_ids() -> tuple[str, ...]:
    """Return the id of every binding whose keys can be changed."""
    return tuple(dict.fromkeys(id_ for id_, _ in _default_keys(_NODES)))


def keymap_of(keys: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return keys by binding id in Textual's form."""
    return {id_: ",".join("comma" if key == "," else key for key in own) for id_, own in keys.items()}


def mistakes(keys: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, Clean]]:
    """Yield the binding id of each invalid setting, and the rest of a sentence that begins with it."""
    ids = binding_ids()
    for id_, own in keys.items():
        if id_ not in ids:
            yield id_, Clean(f"is no binding{did_you_mean(id_, ids)}")
            continue
        invalid = next((key for key in own if not _is_key(key)), None)
        if invalid is not None or not any(True for _ in own):
            key = shortened(clean(invalid or ""), 20) or "nothing"
            yield id_, Clean(f"cannot have {key} as a key; write x, f5, ctrl+x or question_mark")
        elif clash := _clash(id_, keys):
            yield id_, Clean(f"has a key that {clash} has too: give that another one")


def _clash(id_: str, keys: Mapping[str, Iterable[str]]) -> str | None:
    """Return the id of another binding that would have one of a binding's keys at the same time."""
    for nodes in _ACTIVE_TOGETHER:
        defaults = list(_default_keys(nodes))
        ids = {other for other, _ in defaults}
        owners = [(other, _textual_name(key)) for other, key in defaults if other not in keys]
        owners += [(other, _textual_name(key)) for other, own in keys.items() if other in ids for key in own]
        mine = {key for other, key in owners if other == id_}
        if found := next((other for other, key in owners if other != id_ and key in mine), None):
            return found
    return None


def _default_keys(nodes: Iterable[type[DOMNode]]) -> Iterator[tuple[str, str]]:
    """Yield the id and one key of each binding."""
    ours = (base for node in nodes for base in node.__mro__ if base.__module__.startswith("envwatch."))
    for base in dict.fromkeys(ours):
        bindings: Iterable[Any] = Binding.make_bindings(vars(base).get("BINDINGS", ()))
        yield from ((binding.id, binding.key) for binding in bindings if binding.id)


def _textual_name(key: str) -> str:
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
