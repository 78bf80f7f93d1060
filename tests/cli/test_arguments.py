"""Accepted and refused command lines."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import product
from pkgutil import iter_modules

import pytest
from support.parsers import options_of, parsers

from envwatch.cli import commands
from envwatch.cli.arguments import COMMANDS, DASHBOARD, GROUPS, HelpRequested, Options, StopError, load, options_in


@pytest.mark.parametrize(
    "arguments",
    [
        ("--onl",),
        ("nonsense",),
        ("--interval", "0.99"),
        ("--interval", "601"),
        ("--interval", "nan"),
        ("--page-size", "0"),
        ("--page-size", "1001"),
        ("--page-size", "9" * 5000),
        ("--user", ""),
        ("--user", "a\nb"),
        ("demo", "--size", "-1"),
        ("list", "--size", "5"),
        ("--interval", "5", "list"),
        ("--interval", "5", "--page-size", "5", "list"),
        ("list", "--filter", "a\nb"),
        ("--filter", "\x1b]0;a"),
    ],
)
def test_wrong_options_are_one_line_with_the_help(arguments: tuple[str, ...]) -> None:
    with pytest.raises(StopError) as caught:
        options_in(arguments)
    assert caught.value.code == 2
    assert re.fullmatch(r"[^\n]+; see `envwatch( list| demo)? --help`", str(caught.value))


@pytest.mark.parametrize(
    ("command", "option", "name"),
    [
        ("dashboard", "--interval", "interval"),
        ("watch", "--for", "lasts"),
        ("record -o x", "--for", "lasts"),
        ("wait x", "--timeout", "timeout"),
        ("check", "--timeout", "timeout"),
        ("silence x", "--for", "lasts"),
    ],
)
def test_every_option_with_a_duration_reads_the_same_texts_and_explains_a_wrong_text_alike(
    command: str, option: str, name: str
) -> None:
    for text, seconds in (("90", 90), ("90s", 90), ("1m30s", 90), ("0d2m", 120)):
        options = options_in([*command.split(), option, text])
        assert getattr(options, name) == timedelta(seconds=seconds), text
    for text in ("5x", "-1", "0", "soon", "", "366d", "1h 30m", "h", "٣h"):
        with pytest.raises(StopError, match=r"must be .* to .*, written like 45s, 2m or a number of seconds; see "):
            options_in([*command.split(), f"{option}={text}"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--interval", "1", "--page-size", "1"),
        ("--interval=600", "--page-size=1000", "--source", "local"),
        ("demo", "--size", "0"),
        ("demo", "--size", "100000", "--interval", "2.5"),
        ("list", "--online-only", "-o", "jsonl"),
        ("list", "--filter", "", "--filter=status:late"),
    ],
)
def test_the_bounds_themselves_are_allowed(arguments: tuple[str, ...]) -> None:
    assert isinstance(options_in(arguments), Options)


@pytest.mark.parametrize(
    "given",
    [
        ("--interval", "5"),
        ("--profile", "a,b"),
        ("--page-size", "7"),
        ("--no-online-only",),
        ("--source", "local"),
        ("--user", "me"),
        ("--filter", "web"),
        ("--config", "c.toml"),
    ],
)
def test_options_of_a_setting_are_options_of_config_show(given: tuple[str, ...]) -> None:
    options = options_in(["config", "show", *given])
    assert vars(options) == vars(options_in([*given, "config", "show"]))
    assert vars(options) == vars(options_in(["config", *given, "show"]))
    assert vars(options).keys() > {"command", "action"}


ACTIONS = [name.removeprefix("config ") for name in parsers() if name.startswith("config ")]
WITHOUT_SETTINGS = [action for action in ACTIONS if action != "show"]


@pytest.mark.parametrize(
    ("action", "option"),
    [
        *product(ACTIONS, ("--ascii", "--no-mouse", "--log-file=x", "--log-level=off")),
        *product(WITHOUT_SETTINGS, ("--interval=5", "--page-size=7", "--profile=a", "--filter=web")),
    ],
)
def test_an_action_takes_no_option_without_an_effect_there(action: str, option: str) -> None:
    for arguments in (["config", action, option], [option, "config", action]):
        with pytest.raises(StopError, match=option.partition("=")[0]):
            options_in(arguments)
    assert options_in(["config", action, "--config", "c.toml"]).config == "c.toml"


def test_options_before_a_command_hold_for_the_command_too() -> None:
    options = options_in(["--page-size", "7", "--ascii", "demo", "--page-size", "8"])
    assert (options.page_size, options.ascii, options.command) == (8, True, "demo")


@pytest.mark.parametrize("command", [(), ("demo",), ("list",), ("config", "show")])
def test_a_filter_is_an_option_of_every_command(command: tuple[str, ...]) -> None:
    assert options_in([*command, "--filter", " status:late web "]).filter == "status:late web"
    assert options_in(["--filter", "status:late", *command]).filter == "status:late"
    assert options_in([*command, "--filter= "]).filter == ""
    assert "filter" not in vars(options_in(command))


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("web nme:x", r"there is no field nme; the nearest: name, .* \(at character 5: nme\)"),
        ("status:late,ofline", r"there is no status ofline; did you mean status:offline\? \(at character 13: ofline\)"),
        ("beat:>", r"write a duration .* \(at character 7\)"),
        ('東京 "x', r'a quote is not closed: .* \(at character 4: "x\)'),
        ("beat:>90s beat:<2m", r"these alternatives .* \(at character 11: beat:<2m\)"),
    ],
)
def test_a_mistake_in_a_filter_is_one_line_with_its_place(query: str, line: str) -> None:
    with pytest.raises(StopError) as caught:
        options_in(["list", "--filter", query])
    assert caught.value.code == 2
    assert re.fullmatch(f"--filter: {line}", str(caught.value)), str(caught.value)


KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "arguments",
    [
        (KEY,),
        ("-k", KEY),
        ("--api-key", KEY),
        (f"--api-key={KEY}",),
        ("list", KEY),
        *(
            ("list", "--filter", query.replace("KEY", KEY))
            for query in ("KEY:x", "status:KEY", "status:late,KEY", "name:>KEY", '"KEY', "beat:KEY", "!!KEY")
        ),
    ],
)
def test_a_key_in_a_wrong_place_is_refused_and_not_repeated(arguments: tuple[str, ...]) -> None:
    with pytest.raises(StopError) as caught:
        options_in(arguments)
    assert caught.value.code == 2
    assert not {KEY[at : at + 8] for at in range(len(KEY) - 7) if KEY[at : at + 8] in str(caught.value)}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("first:2026-11-01T03:00+25:00", "there is no 2026-11-01T03:00+25:00 in the calendar"),
        ("branch:>feat/login-with-a-long-name", 'branch:">feat/login-with-a-long-name"'),
        ("directory:>/home/hiro/code/portal2/src", 'directory:">/home/hiro/code/portal2/src"'),
    ],
)
def test_a_long_word_of_a_filter_without_a_key_is_repeated_as_typed(query: str, message: str) -> None:
    with pytest.raises(StopError) as caught:
        options_in(["list", "--filter", query])
    assert message in str(caught.value)


def test_every_module_in_commands_is_registered_and_can_run() -> None:
    names = {module.name for module in iter_modules(commands.__path__)}
    assert names == {*COMMANDS}
    assert DASHBOARD in COMMANDS
    assert all(callable(load(name).run) for name in names)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_of_its_own(name: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        options_in([name, "--help"])
    assert f"usage: envwatch {name} " in str(caught.value)
    assert (load(name).__doc__ or "").startswith(f"`envwatch {name}`: ")


MAIN = {"list": "-o", "watch": "-o", "silence": "--for", "check": "-w", "record": "-o", "wait": "--count"}
"""Each command's main option: the first option of the help after `-h`."""
CONNECTION_OPTIONS = [
    "--profile",
    "--config",
    "--page-size",
    "--[no-]online-only",
    "--source",
    "--user",
    "--log-file",
    "--log-level",
]


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", parsers())
def test_the_help_of_a_command_is_80_cells_wide_and_names_the_help_on_connections_at_the_end(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(HelpRequested) as caught:
        options_in([*name.split(), "--help"])
    lines = str(caught.value).splitlines()
    assert max(map(len, lines)) < min(columns, 100)
    assert lines[1] == "", "the usage is one line"
    assert len(lines) <= 35
    options = [line.split()[0].rstrip(",") for line in lines if line.startswith("  -")]
    assert name not in MAIN or options[1] == MAIN[name]
    assert not set(options) & set(CONNECTION_OPTIONS)
    has_connection = not options_of(parsers()[name]).isdisjoint(CONNECTION_OPTIONS)
    assert lines[-1].endswith("): envwatch help connection") is has_connection


@pytest.mark.parametrize("name", ["list", "doctor", "hooks", "completion", "help"])
def test_the_help_of_a_small_command_is_one_screen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(HelpRequested) as caught:
        options_in([name, "--help"])
    assert len(str(caught.value).splitlines()) <= 24


def test_the_help_is_one_screen_with_one_line_for_each_command_in_its_group() -> None:
    with pytest.raises(HelpRequested) as caught:
        options_in(["--help"])
    lines = str(caught.value).splitlines()
    assert max(map(len, lines)) < 80
    assert len(lines) - len(COMMANDS) <= 6
    in_order = [line.split()[0] for line in lines if line.startswith("  ")]
    assert in_order == [name for group in GROUPS.values() for name in group]
    assert [line for line in lines if line.endswith(":")] == [f"{title}:" for title in GROUPS]
