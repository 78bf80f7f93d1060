"""The command line's parsers, by command and action."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from envwatch.cli.arguments import whole_parser

if TYPE_CHECKING:
    from collections.abc import Iterator


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return a parser's actions; argparse has no public access."""
    return parser._actions  # noqa: SLF001


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers by command (`list`) and by command with action (`config show`)."""
    return {name.strip(): parser for name, parser in _within(whole_parser(), "") if name}


def _within(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in actions_of(parser):
        if isinstance(action.choices, dict):
            for word, part in action.choices.items():
                yield from _within(part, f"{name} {word}")


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    shown = [action for action in actions_of(parser) if action.help != argparse.SUPPRESS]
    return {flag for action in shown for flag in action.option_strings} - {"-h", "--help"}
