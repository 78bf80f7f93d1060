"""Shares parsed CSS and styles of parts of widgets among the tests' apps; Textual does the work again for every app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode

if TYPE_CHECKING:
    from textual.css.model import RuleSet
    from textual.css.styles import RulesMap


def share() -> None:
    """Cache parsed rules, and the styles that rules give to component classes."""
    _share_rules()
    _share_component_styles()


def _share_rules() -> None:
    """Cache the parsed rules of each text and set of variables: a rule set does not change after parsing."""
    parse = Stylesheet._parse_rules  # noqa: SLF001  it has a cache, but one for each stylesheet
    parsed: dict[Any, list[RuleSet]] = {}

    def parse_once(self: Stylesheet, *arguments: Any, **named: Any) -> list[RuleSet]:
        variables = tuple(self._variables.items())
        key = (arguments, tuple(named.items()), variables)
        if key not in parsed:
            parsed[key] = parse(self, *arguments, **named)
        return parsed[key]

    Stylesheet._parse_rules = parse_once  # type: ignore[method-assign]  # noqa: SLF001


def _share_component_styles() -> None:
    """Cache the styles of component classes by all that a selector can ask of a widget and the widget's ancestors."""
    process = Stylesheet._process_component_classes  # noqa: SLF001
    known: dict[Any, dict[str, RulesMap]] = {}
    rules: dict[tuple[RuleSet, ...], int] = {}

    def process_once(self: Any, node: Any) -> None:
        components = node._get_component_classes()  # noqa: SLF001
        if not components:
            return
        if getattr(self, "shared_rules", None) is not self.rules:
            self.shared_rules, self.rules_key = self.rules, rules.setdefault(tuple(self.rules), len(rules))
        path = tuple((type(each), each.id, each.classes, each.pseudo_classes) for each in node.css_path_nodes)
        key = (self.rules_key, path, frozenset(components))
        if key not in known:
            process(self, node)
            known[key] = {name: styles.base.get_rules() for name, styles in node._component_styles.items()}  # noqa: SLF001
            return
        before, after = node._component_styles, {}  # noqa: SLF001
        for name, found in known[key].items():
            part = DOMNode(classes=name)
            part._attach(node)  # noqa: SLF001
            part.styles.base.merge_rules(found)
            after[name] = part.styles
        node._component_styles = after  # noqa: SLF001
        if any(before.get(name) != styles for name, styles in after.items()):
            node.refresh()

    Stylesheet._process_component_classes = process_once  # type: ignore[method-assign]  # noqa: SLF001
