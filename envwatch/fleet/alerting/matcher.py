"""A query as a test of environments. The filter language is in a higher layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from envwatch.model.text import EMPTY, SafeText

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment


Test: TypeAlias = "Callable[[TrackedEnvironment, float], bool]"
"""At a moment (server's clock, ms)."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A query as a test, compared by text."""

    query: SafeText
    """The canonical spelling."""
    matches: Test = field(compare=False, repr=False)


EVERYTHING: Final = Matcher(EMPTY, lambda _tracked, _now: True)

MatcherOf: TypeAlias = Callable[[str], Matcher | None]
"""Parses a query, if possible."""
