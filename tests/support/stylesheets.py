"""Textual parses and matches its stylesheet anew for every app; the apps of the tests share what has been done once.

What is shared, and under which key: the rules of a stylesheet, by its sources and variables; the rules that apply to a
node, by that stylesheet and by all that a selector can ask for of the node and its ancestors.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from textual.css.stylesheet import Stylesheet

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from textual.css.model import RuleSet
    from textual.css.styles import RulesMap
    from textual.dom import DOMNode

parse_alone = Stylesheet.parse
"""Textual's own, which shares nothing."""

apply_alone = Stylesheet.apply
"""Textual's own, which shares nothing."""

FLAGS: Final = ("_has_hover_style", "_has_focus_within", "_has_order_style", "_has_odd_or_even")
"""What a stylesheet sets of a node besides its rules."""


class _Match(dict[Any, "RulesMap"]):
    """The cache that Textual is given for one node: it asks once if a cache may be used, and keeps the rules there."""

    may_be_shared = False

    def get(self, key: Any, default: Any = None) -> Any:
        del key
        self.may_be_shared = True
        return default

    @property
    def rules(self) -> RulesMap | None:
        """The rules of the node; None if there are none."""
        return next(iter(self.values()), None)


class _Shared:
    """One parsed stylesheet, and what has been matched with it."""

    def __init__(self, stylesheet: Stylesheet) -> None:
        self.rules: list[RuleSet] = stylesheet.rules
        self.rules_map = stylesheet.rules_map
        self.matches: dict[Hashable, tuple[RulesMap | None, tuple[bool, ...]]] = {}
        self._pseudo_classes: dict[Hashable, tuple[str, ...]] = {}
        self._parent: DOMNode | None = None
        self._above: dict[tuple[str, ...], tuple[Hashable, ...]] = {}

    def key_of(self, node: DOMNode) -> Hashable:
        """Return all that decides which rules apply to a node."""
        own = (type(node), node.id, node.classes)
        asked = self._pseudo_classes.get(own)
        if asked is None:
            names = self.rules_map.keys() & node._selector_names  # noqa: SLF001  as Textual chooses candidates
            rules = [rule for name in names for rule in self.rules_map[name]]
            asked = self._pseudo_classes[own] = tuple(set[str]().union(*(rule.pseudo_classes for rule in rules)))
        *ancestors, _ = node.css_path_nodes
        if node.parent is not self._parent:
            return (*(_state_of(each, asked) for each in ancestors), _state_of(node, asked))
        if asked not in self._above:
            self._above[asked] = tuple(_state_of(each, asked) for each in ancestors)
        return (*self._above[asked], _state_of(node, asked))

    @contextmanager
    def components_of(self, node: DOMNode) -> Iterator[None]:
        """Look at a node and its ancestors once for all of its component classes, which are matched at once."""
        if not node._get_component_classes():  # noqa: SLF001
            yield
            return
        before = self._parent, self._above
        self._parent, self._above = node, {}
        try:
            yield
        finally:
            self._parent, self._above = before


def _state_of(node: DOMNode, pseudo_classes: Iterable[str]) -> Hashable:
    return type(node), node.id, node.classes, tuple([node.has_pseudo_class(name) for name in pseudo_classes])


_by_source: dict[Hashable, _Shared] = {}
_by_rules: dict[int, _Shared] = {}


def _parse(stylesheet: Stylesheet) -> None:
    key = (tuple(stylesheet.source.items()), tuple(stylesheet._variables.items()))  # noqa: SLF001
    if (shared := _by_source.get(key)) is None:
        parse_alone(stylesheet)
        shared = _Shared(stylesheet)
        _by_rules[id(shared.rules)] = shared
        if not stylesheet._invalid_css:  # noqa: SLF001  Textual leaves these out
            _by_source[key] = shared
    stylesheet._rules, stylesheet._rules_map = shared.rules, shared.rules_map  # noqa: SLF001
    stylesheet._require_parse = False  # noqa: SLF001


def _shared_by(stylesheet: Stylesheet) -> _Shared:
    shared = _by_rules.get(id(stylesheet.rules))
    return shared if shared is not None and shared.rules is stylesheet.rules else _Shared(stylesheet)


def _apply(stylesheet: Stylesheet, node: DOMNode, *, animate: bool = False, cache: object = None) -> None:
    del cache  # Textual's is of one update
    shared = _shared_by(stylesheet)
    key = shared.key_of(node)
    match = shared.matches.get(key)
    if match is None:
        found = _Match()
        apply_alone(stylesheet, node, animate=animate, cache=found)
        if found.may_be_shared:
            shared.matches[key] = (found.rules, tuple(getattr(node, flag) for flag in FLAGS))
        return
    rules, flags = match
    for flag, value in zip(FLAGS, flags, strict=True):
        setattr(node, flag, value)
    if rules is not None:
        stylesheet.replace_rules(node, rules, animate=animate)
    with shared.components_of(node):
        stylesheet._process_component_classes(node)  # noqa: SLF001


def share() -> None:
    """Keep what is parsed and matched."""
    Stylesheet.parse = _parse  # type: ignore[method-assign,assignment]
    Stylesheet.apply = _apply  # type: ignore[method-assign,assignment]
