"""Shares parsed default CSS among the tests' apps; Textual parses the text again for every app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.css.stylesheet import Stylesheet

if TYPE_CHECKING:
    from textual.css.model import RuleSet


def share() -> None:
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
