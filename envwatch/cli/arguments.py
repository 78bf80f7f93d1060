"""The parser, the options that commands share, and the exit codes.

Runs nothing and imports nothing slow, so that help and refusals are instant. No option takes the API key, because every
user of a machine can read the arguments of its processes.
"""

from __future__ import annotations

import argparse
import re
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from envwatch import __version__
from envwatch.cli.registry import COMMANDS, load
from envwatch.config.values import duration, line, path_text, query, whole
from envwatch.model.text import clean
from envwatch.storage.redactor import LIKE_A_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta


class Exit(IntEnum):
    """Exit codes: an API, documented in the help."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    AUTHENTICATION = 4
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class StopError(Exception):
    """The command ends here, with an exit code and one line for people; no line if no one can read it."""

    def __init__(self, code: Exit, line: str = "") -> None:
        super().__init__(line)
        self.code = code
        self.line = line


class HelpRequested(Exception):  # noqa: N818 - no error
    """The user asks for the help or the version: print this text and do nothing else."""


class Options(argparse.Namespace):
    """The parsed command line. Parsers set only what was given; the values here are the defaults of shared options.

    A command's own options have their defaults in its `add_arguments`.
    """

    command: str | None = None
    version: bool = False
    config: str | None = None
    profile: str | None = None
    interval: timedelta | None = None
    page_size: int | None = None
    online_only: bool = False
    source: Literal["local", "remote"] | None = None
    user: str | None = None
    filter: str = ""
    ascii: bool = False
    no_mouse: bool = False
    log_file: str | None = None
    log_level: str = "info"


_EPILOG: Final = """\
examples:
  envwatch demo                     look around; needs no key
  envwatch                          watch your environments
  envwatch list --filter pod:p-7    the environments in one pod, once, as a table
  envwatch list -o csv > fleet.csv  every environment, once, for a spreadsheet
  envwatch list -o json | jq -r '.environments[] | select(.state == "offline") | .name'

environment variables:
  LETTA_API_KEY   the API key; without it, in this order: the key that the profile names, the system's keyring,
                  the login of the Letta CLI (~/.letta/settings.json), a prompt at the terminal. It is never an
                  option, because every user of a machine can read those.
  LETTA_BASE_URL  the server (default https://api.letta.com); https, or http to this machine. Every key is sent
                  there, except one that a profile names itself.
                  A key or server of the profile that --profile selects comes before these two variables.
  ENVWATCH_CONFIG, ENVWATCH_PROFILE  like --config and --profile
  ENVWATCH_INTERVAL, ENVWATCH_THEME, …  each setting of the configuration file, before the file's value;
                  `envwatch config show` prints the values in force and their origins
  HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, NO_COLOR  as in other programs

exit codes:
  0 fine   1 failed   2 usage or configuration   3 no listing available   4 key refused
  129 terminal closed   130 interrupted   141 reader of the output closed it   143 terminated
"""

_LONG_WORD: Final = re.compile(r"(?<![^\s'=])(?!--)[^\s'=]{17,}")


def valued(metavar: str, read: Callable[[object], object], summary: str) -> dict[str, Any]:
    """Return argparse's settings for an option with a value; argparse shows the reader's `ValueError`."""

    def value_of(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return {"type": value_of, "metavar": metavar, "help": summary}


_SHARED: Final[dict[str, dict[str, Any]]] = {
    "interval": valued("TIME", duration(1, 600), "time from poll to poll: 5s, 2m (default 5)"),
    "no_mouse": {"action": "store_true", "help": "leave the mouse to the terminal"},
    "profile": {"metavar": "NAME", "help": "profile of the configuration file; several with commas: a,b"},
    "page_size": valued("N", whole(1, 1000), "rows per request (default 100)"),
    "online_only": {
        "action": argparse.BooleanOptionalAction,
        "help": "only environments that the server calls online",
    },
    "source": {"choices": ("local", "remote"), "help": "only environments of this kind"},
    "user": valued("ID", line, "only this user's environments"),
    "filter": valued(
        "QUERY",
        query,
        "only matching environments, as in the filter box; `list` ignores the filter of file and variables",
    ),
    "ascii": {"action": "store_true", "help": "draw with ASCII only"},
    "log_file": valued(
        "PATH", path_text, "write one line per poll to this file (default: a file in the state folder; list: none)"
    ),
    "log_level": {
        "choices": ("info", "warning", "error", "off"),
        "help": "least level of the lines in the log (default info)",
    },
    "config": valued("PATH", path_text, "the configuration file (default: see `envwatch config path`)"),
}
"""The options that several commands take, with argparse's settings."""

QUERY_OPTIONS: Final = ("page_size", "online_only", "source", "user", "filter")
"""Which environments, in which portions."""
OUTPUT_OPTIONS: Final = ("ascii", "log_file", "log_level")


class Parser(argparse.ArgumentParser):
    """A parser that guesses nothing, sets only what was given, and whose errors are one line like any other failure.

    Args:
        fill: adds the arguments when this parser is first used.
        settings: of argparse.
    """

    def __init__(self, *, fill: Callable[[Parser], None] | None = None, **settings: Any) -> None:  # noqa: ANN401 - passed on
        self.names = {"command", "action"}
        """Of the options that this parser takes."""
        self._fill = fill
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
            **settings,
        )
        self.set_defaults(parser=self)

    def add_argument(self, *flags: Any, **settings: Any) -> argparse.Action:  # noqa: ANN401 - passed on
        """Add an option, and note its name."""
        action = super().add_argument(*flags, **settings)
        self.names.add(action.dest)
        return action

    def add_shared(self, *names: str) -> None:
        """Add options that several commands take."""
        for name in names:
            self.add_argument(f"--{name.replace('_', '-')}", **_SHARED[name])

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as argparse has it
        """Parse; a subcommand's parser gets here only if the command line names it."""
        if self._fill is not None:
            self._fill(self)
            self._fill = None
        return super().parse_known_args(args, namespace)

    def print_help(self, file: object = None) -> NoReturn:  # noqa: ARG002 - argparse's own signature
        """Leave the printing to the caller, because argparse ignores errors of writing."""
        raise HelpRequested(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Stop. Words that are long enough to be a key are left out: a key may have been pasted in the wrong place."""
        raise StopError(Exit.USAGE, f"{clean(_LONG_WORD.sub('…', message))}; see `{self.prog} --help`")


def options_in(arguments: Sequence[str] | None, options: Options | None = None) -> Options:
    """Parse the command line.

    Args:
        arguments: without the program's name; the process's own if None.
        options: filled as far as the parsing gets; new ones if None.

    Raises:
        StopError: if an argument is wrong.
        HelpRequested: if the user asks for the help or the version.
    """
    options = _first_parser().parse_args(arguments, namespace=options or Options())
    parser: Parser = vars(options).pop("parser")  # of the command or its action
    if options.version:
        raise HelpRequested(f"envwatch {__version__}\n")
    # Options may stand before the command too, where all of them are accepted.
    for name in vars(options):
        if name not in parser.names:
            parser.error(f"`{parser.prog}` takes no --{name.replace('_', '-')}")
    if options.filter:
        _check_filter(options.filter)
    return options


def _first_parser() -> Parser:
    parser = Parser(
        prog="envwatch",
        description="Watch Letta environments: which are up, which went down, why, and whether the data is current.",
        epilog=_EPILOG,
    )
    parser.add_shared("interval", "no_mouse", "profile", *QUERY_OPTIONS, *OUTPUT_OPTIONS, "config")
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands (default: the dashboard)")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, fill=partial(_fill, name))
    return parser


def _fill(name: str, parser: Parser) -> None:
    load(name).add_arguments(parser)


def _check_filter(text: str) -> None:
    """Stop at the first mistake in a filter, before the key is looked up or the screen is taken.

    What looks like a key is left out: a key may have been pasted in the wrong place.
    """
    from envwatch.query.language import parse
    from envwatch.query.lexer import QueryError

    try:
        parse(text)
    except QueryError as mistake:
        piece = clean(LIKE_A_KEY.sub("…", text[mistake.start : mistake.end]), 40)
        place = f"at character {mistake.start + 1}{': ' if piece else ''}{piece}"
        raise StopError(Exit.USAGE, f"--filter: {LIKE_A_KEY.sub('…', mistake.message)} ({place})") from None
