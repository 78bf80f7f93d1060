"""What the command line says: its options, its help, and the exit codes.

Owns the words and the bounds. Runs nothing and imports nothing of what it is about, but the filter language where there
is a filter, so that help and refusals come at once. No option takes the API key: every user of a machine can see those.
"""

from __future__ import annotations

import argparse
import re
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from envwatch import __version__
from envwatch.config.values import duration, line, path_text, query, whole
from envwatch.model.text import clean
from envwatch.storage.redactor import LIKE_A_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

_T = TypeVar("_T")


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
    """The command ends here, with a code and one line for people; no line where nobody is left to read it."""

    def __init__(self, code: Exit, line: str = "") -> None:
        super().__init__(line)
        self.code = code
        self.line = line


class HelpAsked(Exception):  # noqa: N818 - a wish, no error
    """Somebody wants to read a text, and nothing else is to be done."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Options(argparse.Namespace):
    """What the command line says. The parsers set only what was given; the values here hold for the rest."""

    command: str | None = None
    version: bool = False
    action: Literal["show", "validate", "path", "schema"] = "show"
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
    size: int = 40
    seed: int = 7
    serve: bool = False
    output: str = "table"
    log_file: str | None = None
    log_level: str = "info"


_EPILOG = """\
examples:
  envwatch demo                     look around; needs no key
  envwatch                          watch your environments
  envwatch list --filter pod:p-7    one listing of what that finds, for people
  envwatch list -o csv > fleet.csv  one listing, for a spreadsheet
  envwatch list -o json | jq -r '.environments[] | select(.state == "offline") | .name'

environment variables:
  LETTA_API_KEY   the API key; without it, in this order: what the profile names, the system's keyring, the
                  login of the Letta CLI (~/.letta/settings.json), the terminal. It is never an option: every
                  user of a machine can see those.
  LETTA_BASE_URL  the server, if it is not https://api.letta.com; https, or http to this machine. Whichever
                  key is used goes there, but for one that a profile names itself.
                  What the profile of --profile names itself goes before these two.
  ENVWATCH_CONFIG, ENVWATCH_PROFILE  like --config and --profile
  ENVWATCH_INTERVAL, ENVWATCH_THEME, …  each setting of the configuration file, over what that says;
                  `envwatch config show` tells what holds, and why
  HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, NO_COLOR  as everywhere

exit codes:
  0 fine   1 failed   2 usage or configuration   3 no listing to be had   4 key refused
  129 the terminal went away   130 interrupted   141 the reader of the output went away   143 terminated
"""


_LONG_WORD = re.compile(r"(?<![^\s'=])(?!--)[^\s'=]{17,}")


class _Parser(argparse.ArgumentParser):
    """A parser that guesses nothing, sets only what was given, and whose errors are one line like any other failure."""

    def __init__(self, *, parents: Sequence[_Parser] = (), **settings: Any) -> None:  # noqa: ANN401 - passed through
        self.names: set[str] = {name for parent in parents for name in parent.names}
        """Of the options that it takes."""
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
            parents=parents,
            **settings,
        )

    def add_argument(self, *flags: Any, **settings: Any) -> argparse.Action:  # noqa: ANN401 - passed through
        """Add an option, and remember its name."""
        action = super().add_argument(*flags, **settings)
        self.names.add(action.dest)
        return action

    def print_help(self, file: object = None) -> NoReturn:  # noqa: ARG002 - argparse's own signature
        """Hand the help to whoever writes: argparse itself swallows the errors of writing."""
        raise HelpAsked(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Stop. Words long enough to be a key are left out: one may have been pasted in the wrong place."""
        told = clean(_LONG_WORD.sub("…", message))
        raise StopError(Exit.USAGE, f"{told}; see `{self.prog} --help`")


def options_in(arguments: Sequence[str] | None, options: Options | None = None) -> Options:
    """Return what the command line says.

    Args:
        arguments: without the program's name; the process's own if None.
        options: where to note it, for whoever wants to know how far that got; new ones if None.

    Raises:
        StopError: if that makes no sense.
        HelpAsked: if help or version is wanted.
    """
    parsers = _parsers()
    options = parsers[None, None].parse_args(arguments, namespace=options or Options())
    if options.version:
        raise HelpAsked(f"envwatch {__version__}\n")
    given = vars(options)
    parser = parsers[given.get("command"), given.get("action")]
    # Options may stand before the command too, where all are taken.
    for name in given:
        if name not in parser.names | {"command", "action"}:
            parser.error(f"`{parser.prog}` takes no --{name.replace('_', '-')}")
    if options.filter:
        _check_filter(options.filter)
    return options


def _check_filter(query: str) -> None:
    """Stop at the first mistake in a filter, before a key is asked for or the screen is taken.

    What looks like a key is left out: one may have been pasted in the wrong place.
    """
    from envwatch.query.language import parse  # noqa: PLC0415 - only for those who filter
    from envwatch.query.lexer import QueryError  # noqa: PLC0415

    try:
        parse(query)
    except QueryError as mistake:
        piece = clean(LIKE_A_KEY.sub("…", query[mistake.start : mistake.end]), 40)
        place = f"at character {mistake.start + 1}{': ' if piece else ''}{piece}"
        raise StopError(Exit.USAGE, f"--filter: {LIKE_A_KEY.sub('…', mistake.message)} ({place})") from None


def _parsers() -> dict[tuple[str | None, str | None], _Parser]:
    """Return the parser of each command and action; without both, the one to begin with."""
    narrowing = _Parser(add_help=False)
    narrowing.add_argument(
        "--page-size", type=_argument(whole(1, 1000)), metavar="N", help="rows a request (default 100)"
    )
    narrowing.add_argument(
        "--online-only", action=argparse.BooleanOptionalAction, help="only what the server calls online"
    )
    narrowing.add_argument("--source", choices=("local", "remote"), help="only environments of this kind")
    narrowing.add_argument("--user", type=_argument(line), metavar="ID", help="only this user's environments")
    narrowing.add_argument(
        "--filter",
        type=_argument(query),
        metavar="QUERY",
        help="only what it finds, as in the filter box; for list, no file and no variable sets one",
    )

    output = _Parser(add_help=False)
    output.add_argument("--ascii", action="store_true", help="draw with ASCII alone")
    output.add_argument(
        "--log-file",
        type=_argument(path_text),
        metavar="PATH",
        help="a line a poll goes there (default: in the state folder; list: none)",
    )
    output.add_argument(
        "--log-level", choices=("info", "warning", "error", "off"), help="least that is worth a line (default info)"
    )

    file = _Parser(add_help=False)
    file.add_argument(
        "--config",
        type=_argument(path_text),
        metavar="PATH",
        help="the configuration file (default: see `envwatch config path`)",
    )

    own = _Parser(add_help=False)
    own.add_argument(
        "--profile", metavar="NAME", help="which profile of the configuration file; several with commas: a,b"
    )

    pace = _Parser(add_help=False)
    pace.add_argument(
        "--interval", type=_argument(duration(1, 600)), metavar="TIME", help="from poll to poll: 5s, 2m (default 5)"
    )

    mouse = _Parser(add_help=False)
    mouse.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")

    first = _Parser(
        prog="envwatch",
        description="Watch Letta environments: which are up, which went down, why, and can the screen be believed.",
        epilog=_EPILOG,
        parents=[pace, mouse, own, narrowing, output, file],
    )
    first.add_argument("--version", action="store_true", help="show the version and exit")
    commands = first.add_subparsers(dest="command", metavar="COMMAND", title="commands (without one: the dashboard)")
    demo = commands.add_parser(
        "demo",
        help="the dashboard on an embedded demo fleet",
        description="The dashboard on a demo fleet: a real server of the same API on this machine. Needs no key.",
        parents=[pace, mouse, narrowing, output, file],
    )
    demo.add_argument("--size", type=_argument(whole(0, 100_000)), metavar="N", help="environments (default 40)")
    demo.add_argument("--seed", type=_argument(whole(0, 2**63 - 1)), metavar="N", help="which fleet (default 7)")
    demo.add_argument("--serve", action="store_true", help="only the server, until ctrl+c; prints how to use it")
    listing = commands.add_parser(
        "list",
        help="one listing",
        description="List the environments once, problems first.\n"
        "The filter of the configuration file or of ENVWATCH_FILTER is the dashboard's, and hides nothing here.\n"
        "Several profiles are asked at once. If one has no listing, the others are printed all the same, and the\n"
        "exit code is 3, or 4 where a key was refused.",
        parents=[own, narrowing, output, file],
    )
    listing.add_argument("-o", "--output", choices=("table", "json", "jsonl", "csv"), help="the format (default table)")
    config = commands.add_parser(
        "config",
        help="what holds, and why",
        description="Tell what holds and where it comes from. envwatch never writes the configuration file.",
        parents=[pace, own, narrowing, file],
    )
    actions = config.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    parsers: dict[tuple[str | None, str | None], _Parser] = {
        (None, None): first,
        ("demo", None): demo,
        ("list", None): listing,
    }
    for action, about in _CONFIG_ACTIONS.items():
        parents = [pace, own, narrowing, file] if action == "show" else [file]
        description = f"{about[0].upper()}{about[1:]}."
        parsers["config", action] = actions.add_parser(action, help=about, description=description, parents=parents)
    return parsers


_CONFIG_ACTIONS = {
    "show": "each value with its origin, but never the key",
    "validate": "whether the file can be used; exit 2 and a line for each mistake if not",
    "path": "where the file is, or would be",
    "schema": "the file's JSON schema, for editors",
}


def _argument(read: Callable[[object], _T]) -> Callable[[str], _T]:
    """Return the same reader, its refusals in argparse's form."""

    def argument(text: str) -> _T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return argument
