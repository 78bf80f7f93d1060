"""`envwatch help`: the help on commands, and on what they share."""

from __future__ import annotations

from typing import Final

from envwatch.cli.arguments import (
    COMMANDS,
    CONNECTION,
    EXIT_CODES,
    Exit,
    HelpRequested,
    Options,
    Parser,
    StopError,
    connection_help,
    options_in,
    valued,
)
from envwatch.model.text import clean, did_you_mean, one_line, shortened

_EXIT_CODES: Final = "exit-codes"


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Explain a command or one of its actions, as --help does, or a topic:\n\n"
        f"  {CONNECTION}  profiles, key and server, the log, and variables\n"
        f"  {_EXIT_CODES}  what the exit codes mean"
    )
    parser.examples = {
        "envwatch help": "all commands",
        "envwatch help config show": "one command",
        "envwatch help connection": "what most commands share",
    }
    about = "a command and its action, or a topic"
    parser.add_argument("topic", nargs="*", default=[], **valued("TOPIC", one_line, about))


def run(options: Options) -> int:
    """Raise `HelpRequested` with the help on a topic."""
    words: list[str] = options.topic
    match words:
        case [word] if word == CONNECTION:
            raise HelpRequested(connection_help())
        case [word] if word == _EXIT_CODES:
            raise HelpRequested(f"{EXIT_CODES}\n")
        case [word, *_] if word not in COMMANDS:
            name = shortened(clean(word), 40)
            hint = did_you_mean(word, (*COMMANDS, CONNECTION, _EXIT_CODES)) or "; `envwatch help` lists all commands"
            raise StopError(Exit.USAGE, f"there is no help on {name}{hint}")
    options_in([*words, "--help"])
    return Exit.FINE
