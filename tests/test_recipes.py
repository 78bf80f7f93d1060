"""The recipes of docs/architecture.md: a test fails when a place of a recipe is forgotten."""

from __future__ import annotations

import ast
import inspect
import json
import pkgutil
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from support import programs
from support.documents import README, ROOT, blocks, names, page, section, tables
from support.parsers import options_of, parsers
from support.pty_terminal import environment
from textual.binding import Binding

import envwatch.cli.commands
from envwatch.config.declared import ADVANCED_SETTINGS, ALTERNATIVES, SETTINGS
from envwatch.config.schema import Config
from envwatch.fleet import plausibility
from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean
from envwatch.query.completion import completions
from envwatch.query.fields import FIELDS, FlagField, StatusField
from envwatch.query.language import parse
from envwatch.screen.app import EnvwatchApp
from envwatch.screen.screens.dashboard import Dashboard
from envwatch.screen.screens.table_screen import PAST_KEYS
from envwatch.screen.themes import STATE_COLOURS, THEMES
from envwatch.screen.widgets import status_bar
from envwatch.screen.widgets.detail_pane import DetailPane
from envwatch.screen.widgets.environment_table import EnvironmentTable
from envwatch.screen.widgets.filter_bar import FilterBar
from envwatch.screen.widgets.footer import has_key
from envwatch.views.command_context import EVENT_VARIABLES, ROW_VARIABLES
from envwatch.views.events.event_text import event_style, event_text
from envwatch.views.pane.details import COPY_LETTERS
from envwatch.views.table.columns import COLUMNS, FIXED, fitting

if TYPE_CHECKING:
    from collections.abc import Mapping

README_TEXT: Final = README.read_text(encoding="utf-8")
ARCHITECTURE: Final = page("architecture.md")
CONFIGURATION: Final = page("configuration.md")
FILTER: Final = page("filter.md")
KEYS: Final = page("keys.md")
HOOKS: Final = section(page("without-a-screen.md"), "Hooks")
COMMANDS_OF_YOUR_OWN: Final = section(KEYS, "Your own commands")
STYLESHEET: Final = (ROOT / "styles.tcss").read_text(encoding="utf-8")

COMMANDS: Final = sorted({module.name for module in pkgutil.iter_modules(envwatch.cli.commands.__path__)})

FIELD_CHANGES: Final = {Kind.VERSION, Kind.BRANCH, Kind.RENAMED, Kind.CHANGED}
"""Kinds with the glyph of all changes, `~`."""


@cache
def output_of(*arguments: str) -> str:
    environ = environment(Path("/nonexistent"), COLUMNS="200")
    ended = programs.run([sys.executable, "-m", "envwatch", *arguments], environ)
    assert ended.returncode == 0
    return ended.stdout.decode()


def listed_under(title: str, text: str) -> set[str]:
    (table,) = re.findall(rf"^<!-- {title}: made by.*?<!-- end -->", text, re.DOTALL | re.MULTILINE)
    return {name.strip("`") for name, *_ in tables(table)}


def example() -> Mapping[str, Any]:
    (block,) = (each for each in blocks(CONFIGURATION) if each.language == "toml")
    return tomllib.loads(block.text)


def settings() -> Mapping[str, Any]:
    properties: dict[str, Any] = json.loads(output_of("config", "schema"))["$defs"]["Profile"]["properties"]
    del properties["views"]  # a table
    return properties


# A column.


@pytest.mark.parametrize("id_", COLUMNS)
def test_every_column_can_be_chosen_and_is_documented(id_: str) -> None:
    assert id_ in settings()["columns"]["items"]["anyOf"][0]["enum"]
    assert id_ in settings()["sort"]["anyOf"][0]["enum"]
    chosen = [column.id for column, _ in fitting(200, [id_], has_profiles=id_ == "profile")]
    assert set(chosen) == {*FIXED, id_}
    assert COLUMNS[id_].about
    assert id_ in listed_under("columns", CONFIGURATION)


def test_no_other_column_is_documented() -> None:
    assert listed_under("columns", CONFIGURATION) == set(COLUMNS)


# A filter field.


def test_every_filter_field_is_completed_and_documented() -> None:
    offers = {offer.text: offer.description for offer in completions("", 0, [])}
    assert set(offers) == {*(f"{name}:" for name in FIELDS), "meta."}
    assert all(offers.values())
    assert listed_under("fields", FILTER) == {*FIELDS, "meta.KEY"}
    assert all(
        parse(f"{name}:none", has_past=True)
        for name, field in FIELDS.items()
        if not isinstance(field, FlagField | StatusField)
    )


# A command, an option.


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_help_and_the_readme(command: str) -> None:
    assert re.search(rf"^ +{command}  +\w", output_of("--help"), re.MULTILINE)
    assert f"usage: envwatch {command} " in output_of(command, "--help")
    assert f"`envwatch {command}`" in README_TEXT


def test_only_commands_with_a_screen_may_import_a_terminal_library() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (modules,) = (each["source_modules"] for each in contracts if each["name"].startswith("Commands without a screen"))
    assert {command for command in COMMANDS if f"{envwatch.cli.commands.__name__}.{command}" not in modules} == {
        "config",  # asks the screen for the names of themes and keys, late
        "dashboard",
        "demo",
        "doctor",  # reports what `config validate` reports
        "replay",
    }


def test_every_option_of_the_dashboard_is_documented() -> None:
    options = options_of(parsers()["dashboard"])
    assert options >= {"--no-online-only", "--filter"}
    table = "\n".join(row[0] for row in tables(section(CONFIGURATION, "Options")))
    assert options - {"--no-online-only"} == set(re.findall(r"--[a-z][a-z-]+", table))


# A badge.


def test_every_badge_is_documented() -> None:
    parts = ast.walk(ast.parse(inspect.getsource(status_bar)))
    texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    badges = {found[1] for text in texts if (found := re.match(r" ?([A-Z]{3,}(?: [A-Z]+)*)\b", text))}
    badges |= {f"DATA ? {doubt}" for doubt in plausibility.Doubt}
    assert badges >= {"BLIND", "KEY REFUSED", "SORT"}
    documented = " ".join(row[0] for row in tables(section(page("states.md"), "Badges")))
    assert {badge for badge in badges if f"`{badge}" not in documented} == set()


# An event kind.


@pytest.mark.parametrize("kind", Kind)
def test_every_event_kind_has_a_sentence_a_glyph_and_a_colour(kind: Kind) -> None:
    group = {
        "members": (Event(kind=Kind.ONLINE, at=ServerMs(0)),),
        "of": Kind.ONLINE if kind is Kind.TOGETHER else None,
    }
    event = Event(kind=kind, at=0, name=clean("web"), field="mode", **group)  # type: ignore[arg-type]
    style = event_style(event)
    assert event_text(event)
    assert (style.glyph == "~") == (kind in FIELD_CHANGES)
    assert style.ascii.isascii()
    assert f"state-{style.style}" in STATE_COLOURS


# A setting.


def test_every_setting_is_in_the_table_the_schema_and_config_show() -> None:
    table = example()
    in_example = table.keys() | {name for profile in table["profiles"].values() for name in profile}
    assert in_example == Config.model_fields.keys()
    advanced = listed_under("limits", CONFIGURATION)
    assert advanced == {*ADVANCED_SETTINGS}
    assert {"page_deadline", "walk_deadline"} <= advanced
    assert listed_under("settings", CONFIGURATION) == SETTINGS.keys() - advanced
    assert settings().keys() == SETTINGS.keys()
    assert all(setting.get("description") for setting in settings().values())
    shown = {line.split()[0] for line in output_of("config", "show").splitlines()}
    assert settings().keys() - {"base_url", *ALTERNATIVES["key"]} <= shown
    assert "api_key" in shown


# A theme.


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
def test_every_theme_is_in_the_example_and_the_schema(theme: str) -> None:
    suffix = theme.removeprefix("envwatch")
    for text in (re.findall(r"^theme = .*$", CONFIGURATION, re.MULTILINE)[0], settings()["theme"]["description"]):
        assert theme in text or re.search(rf"(?<!\w){suffix}\b", text), text


def test_the_stylesheet_has_only_colours_of_the_themes() -> None:
    names = set(re.findall(r"\$((?:state|row)-[a-z-]+|faint)", STYLESHEET))
    assert names
    assert names <= STATE_COLOURS.keys()


# A key.


def key_name(text: str) -> str:
    """Return Textual's name of a key on the page."""
    names = {",": "comma", "esc": "escape", "F1": "f1", "PgDn": "pagedown", "PgUp": "pageup"}
    return names.get(text) or next(iter(Binding.make_bindings([Binding(text, "none", "")]))).key


def documented_keys() -> set[str]:
    keys = names("\n".join(row[0] for row in tables(KEYS)))
    assert {"1", "4"} <= keys
    return {key_name(key) for key in keys | set("23")}


def test_every_documented_key_is_bound_and_every_binding_has_a_key_or_its_id_documented() -> None:
    nodes = (EnvironmentTable, DetailPane, FilterBar, Dashboard, EnvwatchApp)
    bases = {base for node in nodes for base in node.__mro__ if base.__module__.startswith("envwatch.")}
    bindings = [binding for base in bases for binding in Binding.make_bindings(vars(base).get("BINDINGS", ()))]
    keys: dict[str, set[str]] = {}
    for binding in filter(has_key, bindings):
        keys.setdefault(binding.id or "", set()).add(binding.key)
    documented = documented_keys()
    copied = set(COPY_LETTERS.values())
    assert documented - copied - set(PAST_KEYS.values()) <= set().union(*keys.values())
    assert [id_ for id_, bound in keys.items() if not bound & documented] == ["app.interrupt"]
    (without,) = re.findall(r"key by its id:\n`([^`]+)`", KEYS)
    assert set(without.split()) == {binding.id for binding in bindings if not has_key(binding)} - PAST_KEYS.keys()


def test_every_letter_of_the_copy_menu_and_every_variable_of_a_command_is_documented() -> None:
    (letters,) = re.findall(r"then a letter \| copy: (.*?) \(by OSC 52", KEYS)
    assert set(re.findall(r"`(.)`", letters)) == set(COPY_LETTERS.values())
    variables = re.findall(r"`((?:ENVWATCH)?_[A-Z_]+)`", COMMANDS_OF_YOUR_OWN)
    expected = {name.removeprefix("ENVWATCH") for name in ROW_VARIABLES}
    assert {name.removeprefix("ENVWATCH") for name in variables} == expected


def test_every_variable_of_a_hook_is_documented() -> None:
    variables = {
        f"ENVWATCH_{name.removeprefix('ENVWATCH').lstrip('_')}"
        for name in re.findall(r"`((?:ENVWATCH)?_[A-Z]+)`", HOOKS)
    }
    assert variables == EVENT_VARIABLES


# The document itself.


def test_every_file_named_in_the_architecture_exists() -> None:
    tracked = [
        path.relative_to(ROOT).as_posix()
        for folder in ("envwatch", "tests", "docs", ".ci")
        for path in (ROOT / folder).rglob("*")
    ]
    tracked += [path.name for path in ROOT.iterdir()]
    names = set(re.findall(r"`([\w./-]+?\.(?:py|tcss|md|toml)|[\w./-]+/)(?:[:`]| )", ARCHITECTURE))
    assert len(names) > 40
    missing = {name for name in names if not any(f"/{path}".endswith(f"/{name.removesuffix('/')}") for path in tracked)}
    assert missing == set()


def test_every_test_named_in_the_architecture_exists() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    names = set(re.findall(r"`(test_\w+)`", ARCHITECTURE))
    assert names
    assert {name for name in names if f"def {name}(" not in source} == set()
