"""Commands, parsers, shared options and exit codes.

No option takes the API key: `NO_KEY_HERE` has the reason. Messages omit long words, which may be a misplaced key.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import sys
import textwrap
from enum import IntEnum
from functools import partial
from importlib import import_module
from itertools import groupby, takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from envwatch import __version__
from envwatch.config.values import PAST_TEXTS, past, path_text, query
from envwatch.model.redactor import LIKE_A_KEY, ReportedError
from envwatch.model.text import SafeText, clean, composed, did_you_mean, nearest_word, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from types import ModuleType


DASHBOARD: Final = "dashboard"

PLUGIN: Final = "check"

GROUPS: Final = {
    "Dashboard": {
        DASHBOARD: "watch your machines live (the default command)",
        "demo": "watch a simulated fleet; needs no key",
        "replay": "play a recording of `envwatch record`",
    },
    "Without a screen": {
        "list": "print your machines once, as a table, JSON or CSV",
        "watch": "print each change as it happens, one per line",
        "wait": "wait until a machine is on, off or whatever you ask for",
        "ack": "acknowledge machines that page: somebody works on them",
        "silence": "keep machines from paging during planned work",
        "alerts": "say which machines page and why, and override that",
        "report": "print a handover report for the next person on call",
        "hooks": "list and test the hooks that send messages",
        PLUGIN: "run as a plugin of Nagios, Icinga and other monitoring systems",
        "metrics": "print series for Prometheus, or write them to a file",
        "serve": "poll once for many viewers, and serve the list to them",
        "record": "record polls into one file, to replay or to send",
    },
    "Setup": {
        "config": "show the settings and where they come from, or check the file",
        "doctor": "check key, network and terminal, and say how to fix each",
        "completion": "print the completion script for bash, zsh or fish",
        "help": "explain a command; `help connection`: key, server, variables",
    },
}
"""Summaries of commands by group."""

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


class StopError(ReportedError):
    """Ends the command with an exit code."""

    def __init__(self, code: Exit, line: str = "") -> None:
        super().__init__(line)
        self.code = code


class _UnknownError(StopError):
    """Ends the command because of an argument that a parser does not take."""

    def __init__(self, word: str, parser: Parser) -> None:
        super().__init__(Exit.USAGE, _with_help(parser.unknown(word), parser.prog))
        self.word = word
        self.parser = parser


class HelpRequested(Exception):  # noqa: N818 - no error
    """Ends parsing with the help or the version as text."""


class Options(argparse.Namespace):
    """The parsed command line, with the defaults of shared options."""

    command: str | None = None
    version: bool = False
    config: str | None = None
    profile: str | None = None
    online_only: bool = False
    filter: str = ""
    view: str | None = None
    at: str | None = None
    ascii: bool = False
    no_mouse: bool = False
    no_history: bool = False
    output: str = ""
    """The format, or empty for the first one: text for people."""
    log_file: str | None = None
    log_level: str = "info"


_DESCRIPTION: Final = "Which machines are down, why, and can you believe the screen?"


def valued(metavar: str, read: Callable[[str], object], summary: str) -> dict[str, Any]:
    """Return an option's settings for argparse, which shows a `ValueError` of `read`."""

    def value_of(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return {"type": value_of, "metavar": metavar, "help": summary}


def _within_bounds(name: str) -> Callable[[str], object]:

    def read(text: str) -> object:
        from envwatch.config.declared import SETTINGS
        from envwatch.config.values import reader_of

        return reader_of(SETTINGS[name])(text)

    return read


_KEY_BEGINS: Final = "sk-let-"


def _no_key(text: str) -> str:
    if text.strip().startswith(_KEY_BEGINS):
        raise ValueError(NO_KEY_HERE)
    return one_line(text)


_WIDEST_HELP: Final = 100
_FLAGS: Final = 2
"""Options that the line about the connection names."""

_SHARED: Final[dict[str, dict[str, Any]]] = {
    "profile": {"metavar": "NAME", "help": "a profile of the configuration file, or several: a,b"},
    "config": valued("PATH", path_text, "the configuration file (default: `envwatch config path`)"),
    "view": valued("NAME", one_line, "a built-in view, or one of your own: offline"),
    "filter": valued("QUERY", query, "only machines that match: 'status:off', 'name:web-*'"),
    "page_size": valued("N", _within_bounds("page_size"), "machines per request (default 100)"),
    "online_only": {
        "action": argparse.BooleanOptionalAction,
        "help": "ask the server only for machines that are online",
    },
    "source": {
        "choices": ("local", "remote"),
        "metavar": "KIND",
        "help": "ask the server only for this kind: local or remote",
    },
    "user": valued("ID", one_line, "ask the server only for this user's machines"),
    "interval": valued("TIME", _within_bounds("interval"), "time from poll to poll: 5s, 2m (default 5s)"),
    "at": valued("TIME", past(PAST_TEXTS), "begin in the past: 02:13, 'yesterday 14:00', ISO 8601"),
    "no_mouse": {"action": "store_true", "help": "leave the mouse to the terminal"},
    "no_history": {"action": "store_true", "help": "neither record nor read the history"},
    "ascii": {"action": "store_true", "help": "draw with ASCII only"},
    "log_file": valued("PATH", path_text, "write the log here, one line per poll"),
    "log_level": {
        "choices": ("info", "warning", "error", "off"),
        "metavar": "LEVEL",
        "help": "info (default), warning, error or off",
    },
}

SERVER_OPTIONS: Final = ("page_size", "online_only", "source", "user")
QUERY_OPTIONS: Final = ("filter", *SERVER_OPTIONS)
_CONNECTION: Final = ("profile", "config", "page_size", "online_only", "source", "user", "log_file", "log_level")
"""Shared options that `envwatch help connection` explains, in its order."""
OUTPUT_OPTIONS: Final = ("ascii", "log_file", "log_level")
DASHBOARD_OPTIONS: Final = tuple(_SHARED)

CONNECTION: Final = "connection"

_ABOUT_CONNECTION: Final = """\
Which server envwatch asks, with which key, and about which machines. Most
commands take these options, before or after the command's name."""

VARIABLES: Final = """\
environment variables:
  LETTA_API_KEY    the API key. Without it: the key that the profile names,
                   the system's keyring, the login of the Letta CLI
                   (~/.letta/settings.json), or a prompt at the terminal.
                   It is never an option: other users can read options.
  LETTA_BASE_URL   the server (default https://api.letta.com): https, or
                   http to this machine. A key or server of the profile
                   that you name with --profile wins over both variables.
  ENVWATCH_CONFIG, ENVWATCH_PROFILE
                   like --config and --profile
  ENVWATCH_INTERVAL, ENVWATCH_THEME, …
                   each setting; it wins over the file. To see what is in
                   force, and why: envwatch config show
  HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, NO_COLOR
                   as in other programs"""

EXIT_CODES: Final = """\
exit codes:
  0 fine   1 failed   2 usage or configuration   3 no answer from the server
  4 key refused   129 terminal closed   130 interrupted
  141 reader of the output closed it   143 terminated
  `check` has those of monitoring plugins: 0 OK, 1 WARNING, 2 CRITICAL,
  3 UNKNOWN, also for a wrong option or configuration"""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
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

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action.choices, dict):
            return super()._format_action(action)
        # Commands stand without a line for their metavar, and without its indentation.
        self._dedent()
        commands = "".join(map(super()._format_action, self._iter_indented_subactions(action)))
        self._indent()
        return commands

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for is_kept, group in groupby(text.splitlines(), key=lambda line: not line or line.startswith(" ")):
            paragraph = [*group]
            lines += paragraph if is_kept else textwrap.wrap(" ".join(paragraph), width, break_on_hyphens=False)
        return "".join(f"{indent}{line}\n" for line in lines)


class Parser(argparse.ArgumentParser):
    """Sets only given options, and takes no abbreviations.

    `fill` runs at the first use, so only the named command's module is imported.
    """

    def __init__(
        self,
        *,
        fill: Callable[[Parser], None] | None = None,
        examples: Mapping[str, str] = MappingProxyType({}),
        **settings: Any,  # noqa: ANN401 - passed on
    ) -> None:
        self._fill = fill
        self.examples = examples
        """What each example's command does."""
        self.optional_action: argparse.Action | None = None
        """Subcommands; the first word names a subcommand or is a value."""
        self.flags_beside: Container[str] = frozenset()
        """Options of the command line without this action, whose name may be a machine's."""
        self.default_action = ""
        """The action of a command line that names none."""
        self.machine_action: argparse.Action | None = None
        """Required machines, for which `--name` or `--filter` may stand."""
        self.connection: argparse._ArgumentGroup | None = None
        """Options that `envwatch help connection` explains."""
        super().__init__(
            formatter_class=_HelpFormatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
            **settings,
        )
        self._positionals.title = "arguments"
        self.set_defaults(parser=self)

    @property
    def names(self) -> frozenset[str]:
        """Names of accepted options."""
        return frozenset({"command", "action", *(action.dest for action in self._actions)})

    @property
    def flags(self) -> list[str]:
        """Option strings, such as `--filter`."""
        return [flag for action in self._actions for flag in action.option_strings]

    def add_flag(self, flag: str, about: str) -> None:
        """Add an option without a value."""
        self.add_argument(flag, action="store_true", default=False, help=about)

    def add_output(self, first: str, *others: str, about: str = "") -> None:
        """Add `-o`; without the option, `Options.output` is empty, and the format is the first one."""
        *some, last = (f"{first} (default)", *others)
        self.add_argument(
            "-o",
            "--output",
            choices=(first, *others),
            metavar="FORMAT",
            help=about or f"{', '.join(some)} or {last}",
        )

    def add_machines(self, argument: str = "NAME|QUERY", nargs: str | None = None, about: str = "") -> None:
        """Add the machines by position, `--name` and `--filter`; without `nargs`, one of them is required."""
        about = about or "a machine's name or id, or a query: 'name:web-*'"
        action = self.add_argument("machines", nargs=nargs, **valued(argument, _no_key, about))
        self.machine_action = action if nargs is None else None
        self.add_argument("--name", **valued("TEXT", _no_key, "the machine with this name, taken literally"))
        self.add_shared("filter")

    def add_shared(self, *names: str) -> None:
        """Add shared options."""
        for name in names:
            flag = f"--{name.replace('_', '-')}"
            if name not in _CONNECTION:
                self.add_argument(flag, **_SHARED[name])
                continue
            self.connection = self.connection or self.add_argument_group(CONNECTION)
            self.connection.add_argument(flag, **_SHARED[name])

    def fill(self) -> None:
        """Add this parser's arguments, once."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
            choices = self.optional_action.choices if self.optional_action else None
            for action in choices.values() if isinstance(choices, dict) else ():
                action.flags_beside = {*self.flags}.difference(action.flags)
            self._action_groups.sort(key=lambda group: group is self.connection)

    @property
    def examples_text(self) -> str:
        """The examples as a block of the help."""
        width = max((len(command) for command, about in self.examples.items() if about), default=0)
        lines = [f"  {command:<{width}}  {about}".rstrip() for command, about in self.examples.items()]
        return "\n".join(["examples:", *lines])

    def format_help(self) -> str:
        """Return the help: examples before options, and a line in place of the options of the connection."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        formatter.add_text(self.examples_text if self.examples else None)
        for group in self._action_groups:
            if group is self.connection:
                continue
            formatter.start_section(group.title)
            formatter.add_arguments(action for action in self._actions if getattr(action, "container", None) is group)
            formatter.end_section()
        formatter.add_text(self.epilog)
        formatter.add_text(self._connection_line)
        return formatter.format_help()

    @property
    def _connection_line(self) -> str | None:
        flags = [f"--{name.replace('_', '-')}" for name in _CONNECTION if name in self.names]
        if not flags:
            return None
        shown = [*flags[:_FLAGS], *(["…"] if flags[_FLAGS:] else [])]
        return f"More options ({', '.join(shown)}): envwatch help {CONNECTION}"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as argparse has it
        """Call `fill`, then parse."""
        self.fill()
        args = [*(args or ())]
        action, machines = self.optional_action, self.machine_action
        is_action = action is not None and args[:1] != [] and args[0] in (action.choices or ())
        if action is not None and not is_action:
            action.nargs = argparse.SUPPRESS  # takes no word
        if self.default_action and (not args or (args[0].startswith("-") and args[0] not in _HELP_FLAGS)):
            args = [self.default_action, *args]
        has_flag = any(arg.partition("=")[0] in _MACHINE_FLAGS for arg in args)
        if machines is not None and (is_action or has_flag):
            machines.nargs = argparse.SUPPRESS
        if (unknown := self._unknown_option(args)) is not None:
            raise _UnknownError(unknown, self)
        return super().parse_known_args(args, namespace)

    def _action_names(self) -> Sequence[str]:
        return [name for each in self._actions if each.dest == "action" for name in each.choices or ()]

    def _unknown_option(self, args: Sequence[str]) -> str | None:
        """Return an unknown option before an action: argparse would call the option's value an unknown action."""
        if not (actions := self._action_names()):
            return None
        before = takewhile(lambda arg: arg not in {*actions, "--"}, args)
        return next((arg for arg in before if arg.startswith("--") and arg.partition("=")[0] not in self.flags), None)

    def corrected(self, arguments: Sequence[str], wrong: str, right: str) -> list[str]:
        """Return a command line with the option `right` for `wrong`, and without what `right` excludes."""
        words = [right + word.removeprefix(wrong) if word.partition("=")[0] == wrong else word for word in arguments]
        if right in _LENGTHS:
            for flag in (_LENGTHS - {right}).intersection(words):
                del words[words.index(flag) : words.index(flag) + 2]
        return words

    def unknown(self, word: str) -> SafeText:
        """Return the message for an argument that the parser does not take."""
        word = _without_keys(word)
        flag, action = word.partition("=")[0], self.prog.rpartition(" ")[2]
        if flag in self.flags_beside:
            return composed(f"`{self.prog}` takes no {word}; a machine called {action} needs --name {action}")
        machines = next((each for each in self._actions if each.dest == "machines"), None)
        if word.startswith("-") or machines is None:
            return unknown_argument(word, self.prog, self.flags)
        if self.machine_action is None:
            return composed(f"`{self.prog}` takes {word} before the options, next to the other machines")
        return composed(f"`{self.prog}` takes one {machines.metavar}, or --name, or --filter: leave out {word}")

    def print_help(self, file: object = None) -> NoReturn:  # noqa: ARG002 - argparse's own signature
        """Raise `HelpRequested`, because argparse ignores write errors."""
        raise HelpRequested(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Raise `StopError` in plain words."""
        raise StopError(Exit.USAGE, _with_help(plain(message), self.prog))


def connection_help() -> str:
    """Return the help on the options of the connection, and on variables."""
    parser = Parser(prog="envwatch COMMAND", add_help=False, description=_ABOUT_CONNECTION, epilog=VARIABLES)
    parser.add_shared(*_CONNECTION)
    return super(Parser, parser).format_help()


class _FirstParser(Parser):
    def __init__(self) -> None:
        super().__init__(prog="envwatch", usage="envwatch [--version] [COMMAND] [OPTION ...]", description=_DESCRIPTION)
        self.commands: dict[str, Parser] = {}

    def format_help(self) -> str:
        width = max(map(len, COMMANDS))
        lines = [f"usage: {self.usage}", f"{self.description}\n"]
        for title, commands in GROUPS.items():
            lines += [f"{title}:", *(f"  {name:<{width}}  {summary}" for name, summary in commands.items())]
        return "\n".join([*lines, ""])


def load(name: str) -> ModuleType:
    """Import a command's module."""
    return import_module(f"envwatch.cli.commands.{name}")


def options_in(arguments: Sequence[str] | None, options: Options | None = None) -> Options:
    """Return a command line's options, by default the process's.

    `options` is filled up to the first mistake.

    Raises:
        StopError: an argument is wrong.
        HelpRequested: the user asks for help or version.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = options or Options()
    first = _first_parser()
    try:
        if any(map(names_a_key, arguments)):
            first.error(NO_KEY_HERE)
        _, extras = first.parse_known_args(arguments, namespace=options)
    except _UnknownError as stop:
        raise _unknown(stop, arguments) from None
    except StopError:
        if options.command is None and PLUGIN in arguments:
            options.command = PLUGIN  # the mistake comes before the command is known
        raise
    parser: Parser = vars(options).pop("parser")
    if extras:
        raise _unknown(_UnknownError(extras[0], parser), arguments)
    if options.version:
        raise HelpRequested(f"envwatch {__version__}\n")
    # Before a command, the first parser accepts every shared option.
    for name in vars(options):
        if name not in parser.names:
            parser.error(f"`{parser.prog}` takes no --{name.replace('_', '-')}")
    if options.filter:
        is_of_table = options.command is None or options.command in GROUPS["Dashboard"]
        check_query(options.filter, "--filter", has_past=is_of_table)
    return options


def whole_parser() -> Parser:
    """Return the parser with all commands' arguments, for generated files."""
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


def check_query(text: str, argument: str, *, is_positional: bool = False, has_past: bool = False) -> None:
    """Raise `StopError` for a mistake in a query; `argument` names the query in the message."""
    from envwatch.query.language import parse, parse_argument
    from envwatch.query.lexer import QueryError

    try:
        if is_positional:
            parse_argument(text)
        else:
            parse(text, has_past=has_past)
    except QueryError as mistake:
        piece = clean(LIKE_A_KEY.sub("…", text[mistake.start : mistake.end]), 40)
        place = f"at character {mistake.start + 1}{': ' if piece else ''}{piece}"
        raise StopError(Exit.USAGE, f"{argument}: {LIKE_A_KEY.sub('…', mistake.message)} ({place})") from None


_SIMILARITY: Final = 0.75
_HELP_FLAGS: Final = frozenset({"-h", "--help"})
_MACHINE_FLAGS: Final = frozenset({"--name", "--filter"})
_LENGTHS: Final = frozenset({"--for", "--until"})
"""Options of which a command takes one."""
_LONG_WORD: Final = re.compile(r"(?<![^\s'=])(?!--)[^\s'=]{17,}")

_CHOICE: Final = re.compile(r"argument (\S+): invalid choice: '?(.*?)'? \(choose from (.*)\)", re.DOTALL)
_OTHERS: Final = {
    re.compile(r"argument (\S+): expected one argument"): "needs a value",
    re.compile(r"argument (\S+?)(?:/\S+)?: ignored explicit argument .*", re.DOTALL): "takes no value",
    re.compile(r"the following arguments are required: (\S+?)(?:, .*)?"): "is missing",
}
_NAMES_OF_KEYS: Final = re.compile(r"--?(?:letta-?)?(?:api-?)?(?:key|token)(?:=.*)?", re.IGNORECASE | re.DOTALL)

NO_KEY_HERE: Final = (
    "no option takes the API key, because every user of a machine can read options: `export LETTA_API_KEY=…` instead"
)


def _with_help(message: SafeText, command: str) -> str:
    return f"{message}{' See' if message.endswith('?') else '; see'} `{command} --help`"


def plain(message: str) -> SafeText:
    """Return argparse's message in plain words."""
    if match := _CHOICE.fullmatch(message):
        name, word, choices = match[1], _without_keys(match[2]), re.findall(r"[\w-]+", match[3])
        near = did_you_mean(word, choices)
        if name.isupper():  # an upper-case name is a command or an action
            flags = ("--help", "--version") if name == "COMMAND" else ("--help",)
            hint = near or did_you_mean(word, flags, similarity=0.75) or f"; there are {', '.join(choices)}"
            return composed(f"there is no {name.lower()} {word}{hint}")
        return composed(f"{name} must be one of {', '.join(choices)}{near}")
    for pattern, words in _OTHERS.items():
        if match := pattern.fullmatch(message):
            return composed(f"{match[1]} {words}")
    return _without_keys(message.removeprefix("argument "))


def _unknown(stop: _UnknownError, arguments: Sequence[str]) -> StopError:
    """Return an error with the whole command that was meant, if that command has no other mistake."""
    wrong, parser = stop.word.partition("=")[0], stop.parser
    right = nearest_word(wrong, parser.flags, similarity=_SIMILARITY) if wrong.startswith("--") else ""
    if not right:
        return stop
    words = parser.corrected(arguments, wrong, right)
    command = shlex.join(["envwatch", *words])
    if command != _without_keys(command):
        return stop
    try:
        options_in(words)
    except StopError:
        return stop
    except HelpRequested:
        pass
    what = f"`{parser.prog}` takes no {_without_keys(stop.word)}; did you mean `{command}`?"
    return StopError(Exit.USAGE, _with_help(composed(what), parser.prog))


def unknown_argument(word: str, command: str, options: Iterable[str]) -> SafeText:
    """Return the message for an unknown argument."""
    word = _without_keys(word)
    if not word.startswith("-"):
        return composed(f"`{command}` takes no argument {word}: every value stands after its option")
    flag = "--version" if word == "-V" else word.partition("=")[0]
    return composed(f"`{command}` takes no {word}{did_you_mean(flag, options, similarity=_SIMILARITY)}")


def names_a_key(argument: str) -> bool:
    """Whether an argument resembles an option for the key."""
    return _NAMES_OF_KEYS.fullmatch(argument) is not None


def _without_keys(message: str) -> SafeText:
    return clean(_LONG_WORD.sub("…", message))
