"""The commands, the parser, the shared options, the exit codes, mistakes in plain words, and the loading of a command.

Runs nothing and imports nothing slow, so that help and refusals are instant: only the named command's module is loaded.
No option takes the API key, because every user of a machine can read the arguments of its processes. A message leaves
out words that are long enough to be a key: a key may have been pasted in the wrong place.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import textwrap
from enum import IntEnum
from functools import partial
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Protocol, cast

from envwatch import __version__
from envwatch.config.values import line, path_text, query
from envwatch.model.text import SafeText, clean, composed, did_you_mean
from envwatch.redactor import LIKE_A_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta


DASHBOARD: Final = "dashboard"
"""The command that runs if none is named; every shared option is one of its own."""

PLUGIN: Final = "check"
"""The command that monitoring systems call: it reports failures on standard output, with an exit code of its own."""

GROUPS: Final = {
    "Dashboard": {
        DASHBOARD: "watch your environments live (the default command)",
        "demo": "watch a simulated fleet; needs no key",
        "replay": "play a recording of `envwatch record`",
    },
    "Without a screen": {
        "list": "print the environments once, as a table, JSON or CSV",
        "watch": "print each change as it happens, one per line",
        "wait": "wait until an environment matches a filter",
        "serve": "poll once for many viewers, and serve the listing to them",
        "record": "record polls into one file, to replay or to send",
        PLUGIN: "run as a plugin of Nagios, Icinga and other monitoring systems",
        "metrics": "print series for Prometheus, or write a file",
        "report": "print a handover report for the next person on call",
        "hooks": "test the hooks that `watch --hooks` runs",
        "silence": "stop alerts of environments during planned work",
    },
    "Setup": {
        "config": "show the settings and their origins, or check the file",
        "doctor": "check key, network and terminal, and say how to fix each",
        "completion": "print the completion script for bash, zsh or fish",
    },
}
"""The commands of each group, each with its line in the help, which is one screen of 80x24. The module in `commands`
has the command's name, so a new command is one module and one line here."""

COMMANDS: Final = {name: summary for group in GROUPS.values() for name, summary in group.items()}


class Exit(IntEnum):
    """Exit codes: an API, documented in the help."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    AUTHENTICATION = 4
    HUNG_UP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


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
    no_history: bool = False
    log_file: str | None = None
    log_level: str = "info"


_DESCRIPTION: Final = "Which Letta environments are up, which went down, why, and is the data current?"

_DETAILS: Final = "Details: envwatch COMMAND --help; dashboard --help has variables and exit codes"


def valued(metavar: str, read: Callable[[str], object], summary: str) -> dict[str, Any]:
    """Return argparse's settings for an option with a value; argparse shows the reader's `ValueError`."""

    def value_of(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return {"type": value_of, "metavar": metavar, "help": summary}


def _within_bounds(name: str) -> Callable[[str], object]:
    """Return the reader of a setting that has bounds; the settings are imported when the option has a value."""

    def read(text: str) -> object:
        from envwatch.config.declared import reader_within_bounds

        return reader_within_bounds(name)(text)

    return read


_WIDEST_HELP: Final = 100
"""Cells of a terminal that the help uses."""

_SHARED: Final[dict[str, dict[str, Any]]] = {
    "interval": valued("TIME", _within_bounds("interval"), "time from poll to poll: 5s, 2m (default 5s)"),
    "no_mouse": {"action": "store_true", "help": "leave the mouse to the terminal"},
    "no_history": {"action": "store_true", "help": "neither record nor read the history"},
    "profile": {"metavar": "NAME", "help": "profile of the configuration file, or several: a,b"},
    "page_size": valued("N", _within_bounds("page_size"), "rows per request (default 100)"),
    "online_only": {
        "action": argparse.BooleanOptionalAction,
        "help": "only environments that the server calls online",
    },
    "source": {
        "choices": ("local", "remote"),
        "metavar": "KIND",
        "help": "only environments of this kind: local or remote",
    },
    "user": valued("ID", line, "only this user's environments"),
    "filter": valued("QUERY", query, "only environments that match this filter"),
    "ascii": {"action": "store_true", "help": "draw with ASCII only"},
    "log_file": valued(
        "PATH",
        path_text,
        "log file, one line per poll (list, check, wait: none)",
    ),
    "log_level": {
        "choices": ("info", "warning", "error", "off"),
        "metavar": "LEVEL",
        "help": "lines in the log: info (default), warning, error, off",
    },
    "config": valued("PATH", path_text, "configuration file (default: `envwatch config path`)"),
}
"""The options that several commands take, with argparse's settings."""

QUERY_OPTIONS: Final = ("filter", "page_size", "online_only", "source", "user")
"""Which environments, in which portions."""
_ADVANCED: Final = frozenset(
    {"no_mouse", "no_history", "page_size", "online_only", "source", "user", "log_file", "log_level"}
)
"""Shared options that few people need: the help shows them last."""
OUTPUT_OPTIONS: Final = ("ascii", "log_file", "log_level")
DASHBOARD_OPTIONS: Final = ("profile", *QUERY_OPTIONS, "interval", "no_mouse", "no_history", *OUTPUT_OPTIONS, "config")
"""Every shared option: all of them may stand before a command."""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help in lines of at most 98 cells, and of fewer cells in a narrower terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(shutil.get_terminal_size().columns, _WIDEST_HELP) - 2)

    def _format_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None) -> str:  # noqa: ANN401 - passed on
        if usage is None:
            values = [action for action in actions if not action.option_strings]
            words = [self._format_args(action, self._get_default_metavar_for_positional(action)) for action in values]
            usage = " ".join(["%(prog)s", *(["[OPTION ...]"] if len(values) < len(actions) else []), *words])
        return super()._format_usage(usage, actions, groups, prefix)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        flags = ", ".join(action.option_strings)
        if isinstance(action, argparse.BooleanOptionalAction):
            return flags.partition(",")[0].replace("--", "--[no-]")
        if not flags or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{flags} {self._format_args(action, self._get_default_metavar_for_optional(action))}"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap the paragraphs of a text. Indented lines stay as they are."""
        lines: list[str] = []
        for is_kept, group in groupby(text.splitlines(), key=lambda line: not line or line.startswith(" ")):
            paragraph = [*group]
            lines += paragraph if is_kept else textwrap.wrap(" ".join(paragraph), width, break_on_hyphens=False)
        return "".join(f"{indent}{line}\n" for line in lines)


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
        self._advanced: argparse._ArgumentGroup | None = None
        super().__init__(
            formatter_class=_HelpFormatter,
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
        """Add options that several commands take; the advanced ones have a group of their own."""
        for name in names:
            flag = f"--{name.replace('_', '-')}"
            if name not in _ADVANCED:
                self.add_argument(flag, **_SHARED[name])
                continue
            self._advanced = self._advanced or self.add_argument_group("advanced")
            self.names.add(self._advanced.add_argument(flag, **_SHARED[name]).dest)

    def fill(self) -> None:
        """Add the arguments of this parser, once."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
            self._action_groups.sort(key=lambda group: group is self._advanced)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as argparse has it
        """Parse; a subcommand's parser gets here only if the command line names it."""
        self.fill()
        return super().parse_known_args(args, namespace)

    def print_help(self, file: object = None) -> NoReturn:  # noqa: ARG002 - argparse's own signature
        """Leave the printing to the caller, because argparse ignores errors of writing."""
        raise HelpRequested(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Stop with one line in plain words."""
        raise StopError(Exit.USAGE, f"{plain(message)}; see `{self.prog} --help`")


class _FirstParser(Parser):
    """The parser of the whole command line; its help is one screen of 80x24: the commands in their groups."""

    def __init__(self) -> None:
        super().__init__(prog="envwatch", usage="envwatch [--version] [COMMAND] [OPTION ...]", description=_DESCRIPTION)
        self.commands: dict[str, Parser] = {}

    def format_help(self) -> str:
        """Return the commands in their groups; the options are in the help of the commands."""
        width = max(map(len, COMMANDS))
        lines = [f"usage: {self.usage}", f"{self.description}\n"]
        for title, commands in GROUPS.items():
            lines += [f"{title}:", *(f"  {name:<{width}}  {summary}" for name, summary in commands.items())]
        return "\n".join([*lines, f"{_DETAILS}\n"])


class CommandModule(Protocol):
    """What a module in `commands` offers. It imports late whatever `add_arguments` does not need."""

    def add_arguments(self, parser: Parser) -> None:
        """Set the description of a command's parser and add its options."""

    def run(self, options: Options) -> int:
        """Run the command and return the exit code."""


def load(name: str) -> CommandModule:
    """Import a command."""
    return cast("CommandModule", import_module(f"envwatch.cli.commands.{name}"))


def options_in(arguments: Sequence[str] | None, options: Options | None = None) -> Options:
    """Parse the command line.

    Args:
        arguments: without the program's name; the process's own if None.
        options: filled as far as the parsing gets; new ones if None.

    Raises:
        StopError: if an argument is wrong.
        HelpRequested: if the user asks for the help or the version.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = options or Options()
    first = _first_parser()
    try:
        if any(map(names_a_key, arguments)):
            first.error(NO_KEY_HERE)
        _, extras = first.parse_known_args(arguments, namespace=options)
    except StopError:
        if options.command is None and PLUGIN in arguments:
            options.command = PLUGIN  # the mistake stands before it
        raise
    parser: Parser = vars(options).pop("parser")  # of the command or its action
    if extras:
        flags = [f"--{name.replace('_', '-')}" for name in parser.names]
        raise StopError(Exit.USAGE, f"{unknown(extras, parser.prog, flags)}; see `{parser.prog} --help`")
    if options.version:
        raise HelpRequested(f"envwatch {__version__}\n")
    # Options may stand before the command too, where all of them are accepted.
    for name in vars(options):
        if name not in parser.names:
            parser.error(f"`{parser.prog}` takes no --{name.replace('_', '-')}")
    if options.filter:
        check_query(options.filter, "--filter")
    return options


def whole_parser() -> Parser:
    """Return the parser with the arguments of every command, for what is generated from it."""
    parser = _first_parser()
    for command in parser.commands.values():
        command.fill()
    return parser


def _first_parser() -> _FirstParser:
    parser = _FirstParser()
    parser.add_shared(*DASHBOARD_OPTIONS)
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", prog="envwatch", parser_class=Parser
    )
    for name, summary in COMMANDS.items():
        parser.commands[name] = commands.add_parser(name, help=summary, fill=partial(_fill, name))
    return parser


def _fill(name: str, parser: Parser) -> None:
    load(name).add_arguments(parser)


def check_query(text: str, argument: str) -> None:
    """Stop at the first mistake in a query, before the key is looked up or the screen is taken.

    What looks like a key is left out: a key may have been pasted in the wrong place. `argument` is what has the query.
    """
    from envwatch.query.language import parse
    from envwatch.query.lexer import QueryError

    try:
        parse(text)
    except QueryError as mistake:
        piece = clean(LIKE_A_KEY.sub("…", text[mistake.start : mistake.end]), 40)
        place = f"at character {mistake.start + 1}{': ' if piece else ''}{piece}"
        raise StopError(Exit.USAGE, f"{argument}: {LIKE_A_KEY.sub('…', mistake.message)} ({place})") from None


_LONG_WORD: Final = re.compile(r"(?<![^\s'=])(?!--)[^\s'=]{17,}")

_CHOICE: Final = re.compile(r"argument (\S+): invalid choice: '?(.*?)'? \(choose from (.*)\)", re.DOTALL)
_OTHERS: Final = {
    re.compile(r"argument (\S+): expected one argument"): "needs a value",
    re.compile(r"argument (\S+?)(?:/\S+)?: ignored explicit argument .*", re.DOTALL): "takes no value",
    re.compile(r"the following arguments are required: (\S+)"): "is missing",
}
"""What to say of an argument in place of these messages."""
_NAMES_OF_KEYS: Final = re.compile(r"--?(?:letta-?)?(?:api-?)?(?:key|token)(?:=.*)?", re.IGNORECASE | re.DOTALL)

NO_KEY_HERE: Final = (
    "no option takes the API key, because every user of a machine can read options: `export LETTA_API_KEY=…` instead"
)


def plain(message: str) -> SafeText:
    """Return a message of argparse in words for people."""
    if match := _CHOICE.fullmatch(message):
        name, word, choices = match[1], _without_keys(match[2]), re.findall(r"[\w-]+", match[3])
        nearest = did_you_mean(word, choices)
        if name.isupper():  # a command or an action
            hint = nearest or f"; there are {', '.join(choices)}"
            return composed(f"there is no {name.lower()} {word}{hint}")
        return composed(f"{name} must be one of {', '.join(choices)}{nearest}")
    for pattern, words in _OTHERS.items():
        if match := pattern.fullmatch(message):
            return composed(f"{match[1]} {words}")
    return _without_keys(message.removeprefix("argument "))


def unknown(extras: Sequence[str], command: str, options: Iterable[str]) -> SafeText:
    """Return what to say of arguments that a command, as it is typed, does not know among its options."""
    word = _without_keys(extras[0])
    if not word.startswith("-"):
        return composed(f"`{command}` takes no argument {word}: every value stands after its option")
    return composed(f"`{command}` takes no {word}{did_you_mean(word.partition('=')[0], options, similarity=0.7)}")


def names_a_key(argument: str) -> bool:
    """Whether an argument is an option that people expect for the key."""
    return _NAMES_OF_KEYS.fullmatch(argument) is not None


def _without_keys(message: str) -> SafeText:
    return clean(_LONG_WORD.sub("…", message))
