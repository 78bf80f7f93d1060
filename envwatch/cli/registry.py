"""The commands by name. A new command is one module in `commands` and one line here.

Help and the parsing of options import only the module of the command that is named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from envwatch.cli.arguments import Options, Parser

COMMANDS: Final = {
    "demo": "the dashboard on an embedded demo fleet",
    "list": "one listing",
    "config": "the settings in force, and their origins",
}
"""Each command's line in the help. The module in `commands` has the command's name."""

DASHBOARD: Final = "dashboard"
"""The module that runs without a command; every shared option is one of its own."""


class Command(Protocol):
    """What a module in `commands` offers. It imports late whatever `add_arguments` does not need."""

    def add_arguments(self, parser: Parser) -> None:
        """Set the description of a command's parser and add its options."""

    def run(self, options: Options) -> int:
        """Run the command and return the exit code."""


def load(name: str) -> Command:
    """Import a command."""
    return cast("Command", import_module(f"envwatch.cli.commands.{name}"))
