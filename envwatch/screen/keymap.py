"""Mistakes in the user's keys, views and commands."""

from __future__ import annotations

import unicodedata
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from envwatch.model.text import SafeText, clean, composed, did_you_mean, shortened
from envwatch.screen.app import EnvwatchApp
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.dialogs import ColumnPicker, CopyMenu, Menu, PickList, Prompt, SortMenu
from envwatch.screen.screens.event_log import EventLogScreen
from envwatch.screen.screens.help import HelpScreen
from envwatch.screen.screens.plain_text import HandoverScreen, PlainText
from envwatch.screen.screens.table_actions import binding_of
from envwatch.screen.screens.table_screen import PAST_KEYS
from envwatch.screen.terminal.app import own_bindings
from envwatch.screen.widgets.detail_pane import DetailPane, Pager
from envwatch.screen.widgets.environment_table import EnvironmentTable
from envwatch.screen.widgets.event_list import EventList
from envwatch.screen.widgets.filter_bar import FilterBar, TextInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from textual.dom import DOMNode

    from envwatch.views.command_context import RowCommand
    from envwatch.views.table.table_view import NamedView

NO_VIEWS: Final[Mapping[str, NamedView]] = MappingProxyType({})

_MODIFIERS: Final = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
_NAMED: Final = frozenset(key.value for key in Keys) | frozenset(KEY_NAME_REPLACEMENTS.values())


@cache
def binding_scopes() -> tuple[tuple[type[DOMNode], ...], ...]:
    """Return groups of node classes whose keys work at the same time.

    In the filter bar, most keys are text.
    """
    from envwatch.screen.screens.command_palette import Palette

    return (
        (EnvironmentTable, Dashboard, EnvwatchApp),
        (DetailPane, Dashboard, EnvwatchApp),
        (FilterBar,),
        (EventList, EventLogScreen),
        (Pager, HelpScreen),
        (Pager, PlainText),
        (Pager, HandoverScreen),
        (Menu.LIST, Menu),
        (SortMenu.LIST, SortMenu),
        (CopyMenu.LIST, CopyMenu),
        (PickList, ColumnPicker),
        (TextInput, Prompt),
        (Palette,),
    )


def binding_ids() -> tuple[str, ...]:
    """Return the ids of configurable bindings."""
    return tuple(dict.fromkeys(id_ for nodes in binding_scopes() for id_, _ in _default_keys(nodes)))


def mistakes(
    keys: Mapping[str, Iterable[str]], views: Mapping[str, NamedView] = NO_VIEWS
) -> Iterator[tuple[str, SafeText]]:
    """Yield each mistake as a binding id and the rest of a sentence."""
    ids = (*binding_ids(), *(view.id for view in views.values()))
    for id_, own in keys.items():
        if id_ not in ids:
            yield id_, clean(f"is no binding{did_you_mean(id_, ids)}")
            continue
        invalid = next((key for key in own if not _is_key(key)), None)
        if invalid is not None or not any(True for _ in own):
            yield id_, _no_key(invalid or "")
        elif clash := _clash(id_, keys, views):
            yield id_, composed(f"has a key that {clash} has too: give that another one")


def view_mistakes(views: Mapping[str, NamedView], keys: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, SafeText]]:
    """Yield mistakes in views' keys, by view."""
    own = {name: (view.key, view.id) for name, view in views.items() if view.key and view.id not in keys}
    return _key_mistakes(own, _owners(keys, NO_VIEWS), "view")


def command_mistakes(
    commands: Mapping[str, RowCommand], keys: Mapping[str, Iterable[str]], views: Mapping[str, NamedView] = NO_VIEWS
) -> Iterator[tuple[str, SafeText]]:
    """Yield mistakes in commands' keys, by command."""
    own = {name: (command.key, f"commands.{name}") for name, command in commands.items()}
    return _key_mistakes(own, _owners(keys, views), "command")


def _owners(keys: Mapping[str, Iterable[str]], views: Mapping[str, NamedView]) -> dict[str, str]:
    return {key: id_ for nodes in reversed(binding_scopes()[:2]) for id_, key in _keys_of(nodes, keys, views)}


def _key_mistakes(
    own: Mapping[str, tuple[str, str]], owners: dict[str, str], noun: str
) -> Iterator[tuple[str, SafeText]]:
    for name, (key, id_) in own.items():
        owner = owners.setdefault(_textual_name(key), id_)
        if not _is_key(key):
            yield name, _no_key(key)
        elif owner != id_:
            yield name, clean(f"is the key of {owner} already: give the {noun} another one")


def _no_key(text: str) -> SafeText:
    return clean(
        f"cannot have {shortened(clean(text), 20) or 'nothing'} as a key; write x, f5, ctrl+x or question_mark"
    )


def _clash(id_: str, keys: Mapping[str, Iterable[str]], views: Mapping[str, NamedView]) -> str | None:
    for nodes in binding_scopes():
        owners = list(_keys_of(nodes, keys, views))
        mine = {key for other, key in owners if other == id_}
        if found := next((other for other, key in owners if other != id_ and key in mine), None):
            return found
    return None


def _keys_of(
    nodes: Iterable[type[DOMNode]], keys: Mapping[str, Iterable[str]], views: Mapping[str, NamedView]
) -> Iterator[tuple[str, str]]:
    defaults = list(_default_keys(nodes))
    if Dashboard in nodes:
        defaults += [(view.id, binding_of(view).key) for view in views.values()]
    yield from ((id_, _textual_name(key)) for id_, key in defaults if id_ not in keys)
    yield from ((id_, _textual_name(key)) for id_ in dict(defaults) if id_ in keys for key in keys[id_])


def _default_keys(nodes: Iterable[type[DOMNode]]) -> Iterator[tuple[str, str]]:
    bindings = dict.fromkeys(binding for node in nodes for binding in own_bindings(node))
    yield from ((binding.id, PAST_KEYS.get(binding.id, binding.key)) for binding in bindings if binding.id)


def _textual_name(key: str) -> str:
    if key == ",":
        return "comma"
    return next(iter(Binding.make_bindings([Binding(key, "none", "")]))).key


def _is_key(key: str) -> bool:
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
