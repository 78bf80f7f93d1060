"""The recipes of docs/architecture.md: each test fails when a place of a recipe is forgotten."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from textual.binding import Binding

import envwatch.cli.commands
from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import ServerMs
from envwatch.model.text import Clean
from envwatch.query.completion import completions
from envwatch.query.fields import FIELDS
from envwatch.query.language import parse
from envwatch.tui.app import EnvwatchApp
from envwatch.tui.screens.dashboard import Dashboard
from envwatch.tui.themes import STATE_COLOURS, THEMES
from envwatch.tui.widgets.detail_pane import DetailPane
from envwatch.tui.widgets.environment_table import EnvironmentTable
from envwatch.tui.widgets.filter_bar import FilterBar
from envwatch.views.columns import COLUMNS, FIXED, fitting
from envwatch.views.event_text import event_style, event_text

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE: Final = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STYLESHEET: Final = (ROOT / "styles.tcss").read_text(encoding="utf-8")

COMMANDS: Final = sorted({module.name for module in pkgutil.iter_modules(envwatch.cli.commands.__path__)})
DASHBOARD: Final = "dashboard"
"""The command without a name."""

KEY_SETTINGS: Final = {"api_key_env", "api_key_file"}
"""`config show` has one line for the key, `api_key`."""

NO_PROFILE_SETTINGS: Final = {"default_profile", "profiles", "keys"}

FIELD_CHANGES: Final = {Kind.VERSION, Kind.BRANCH, Kind.RENAMED, Kind.CHANGED}
"""Kinds with the glyph of all changes, `~`."""


@cache
def output_of(*arguments: str) -> str:
    """What the program prints, with no settings of this machine."""
    ours = ("LETTA_", "ENVWATCH_", "XDG_", "COLUMNS")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = [sys.executable, "-m", "envwatch", *arguments]
    environ |= {"HOME": "/nonexistent", "COLUMNS": "200"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout


def readme_line(title: str) -> set[str]:
    """The names in backticks in a paragraph of the README that begins with a bold title."""
    (paragraph,) = re.findall(rf"^\*\*{title}\*\*(.*?)\n\n", README, re.DOTALL | re.MULTILINE)
    return {name for group in re.findall(r"`([^`]+)`", paragraph) for name in group.split()}


def settings() -> Mapping[str, Any]:
    properties: Mapping[str, Any] = json.loads(output_of("config", "schema"))["$defs"]["Profile"]["properties"]
    return properties


# A column.


@pytest.mark.parametrize("id_", COLUMNS)
def test_every_column_can_be_chosen_and_is_in_the_readme(id_: str) -> None:
    assert id_ in settings()["columns"]["items"]["enum"]
    assert id_ in settings()["sort"]["enum"]
    chosen = [column.id for column, _ in fitting(200, [id_], has_profiles=id_ == "profile")]
    assert set(chosen) == {*FIXED, id_}
    assert COLUMNS[id_].about
    assert id_ in readme_line("Columns")


def test_the_readme_names_no_other_column() -> None:
    assert readme_line("Columns") == set(COLUMNS)


# A filter field.


def test_every_filter_field_is_completed_and_in_the_readme() -> None:
    offers = {offer.text: offer.description for offer in completions("", 0, [])}
    assert set(offers) == {*(f"{name}:" for name in FIELDS), "meta."}
    assert all(offers.values())
    assert readme_line("Fields") == {*FIELDS, "meta.KEY"}
    assert all(parse(f"{name}:none") for name in FIELDS if name != "status")


# A command, an option.


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != DASHBOARD])
def test_every_command_is_in_the_help_and_the_readme(command: str) -> None:
    assert re.search(rf"^ +{command}  +\w", output_of("--help"), re.MULTILINE)
    assert f"usage: envwatch {command} " in output_of(command, "--help")
    assert f"envwatch {command}" in README


def test_every_option_of_the_dashboard_is_in_the_readme() -> None:
    options = set(re.findall(r"--[a-z][a-z-]+", output_of("--help").split("\nexamples:")[0]))
    assert options >= {"--help", "--version", "--no-online-only", "--filter"}
    table = README.split("| option |")[1].split("\n\n")[0]
    assert options - {"--help", "--version", "--no-online-only"} == set(re.findall(r"--[a-z][a-z-]+", table))


# An event kind.


@pytest.mark.parametrize("kind", Kind)
def test_every_event_kind_has_a_sentence_a_glyph_and_a_colour(kind: Kind) -> None:
    group = {
        "members": (Event(kind=Kind.ONLINE, at=ServerMs(0)),),
        "of": Kind.ONLINE if kind is Kind.TOGETHER else None,
    }
    event = Event(kind=kind, at=0, name=Clean("web"), field="mode", **group)  # type: ignore[arg-type]
    style = event_style(event)
    assert event_text(event)
    assert (style.glyph == "~") == (kind in FIELD_CHANGES)
    assert style.ascii.isascii()
    assert f"state-{style.style}" in STATE_COLOURS


# A setting.


def test_every_setting_is_in_the_readme_the_schema_and_config_show() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    table = tomllib.loads(example)
    in_example = table.keys() | {name for profile in table["profiles"].values() for name in profile}
    assert in_example == settings().keys() | NO_PROFILE_SETTINGS
    assert all(setting.get("description") for setting in settings().values())
    shown = {line.split()[0] for line in output_of("config", "show").splitlines()}
    assert settings().keys() - KEY_SETTINGS - {"base_url"} <= shown
    assert "api_key" in shown


# A theme.


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
def test_every_theme_is_in_the_readme_and_the_schema(theme: str) -> None:
    suffix = theme.removeprefix("envwatch")
    for text in (re.findall(r"^theme = .*$", README, re.MULTILINE)[0], settings()["theme"]["description"]):
        assert theme in text or re.search(rf"(?<!\w){suffix}\b", text), text


def test_the_stylesheet_has_no_colour_that_themes_do_not_define() -> None:
    names = set(re.findall(r"\$((?:state|row)-[a-z-]+|faint)", STYLESHEET))
    assert names
    assert names <= STATE_COLOURS.keys()


# A key.


def key_name(text: str) -> str:
    """The name that Textual gives to a key of the README."""
    names = {",": "comma", "esc": "escape", "F1": "f1", "PgDn": "pagedown", "PgUp": "pageup"}
    return names.get(text) or next(iter(Binding.make_bindings([Binding(text, "none", "")]))).key


def readme_keys() -> set[str]:
    rows = re.findall(r"^\| (`.*?) \|", README.split("\n## Keys\n")[1].split("\n## ")[0], re.MULTILINE)
    keys = {key for row in rows for group in re.findall(r"`([^`]+)`", row) for key in group.split()}
    assert {"1", "6"} <= keys
    return {key_name(key) for key in keys | set("2345")}


def test_every_key_in_the_readme_is_bound_and_every_binding_has_a_key_in_the_readme() -> None:
    nodes = (EnvironmentTable, DetailPane, FilterBar, Dashboard, EnvwatchApp)
    bases = {base for node in nodes for base in node.__mro__ if base.__module__.startswith("envwatch.")}
    keys: dict[str, set[str]] = {}
    for base in bases:
        for binding in Binding.make_bindings(vars(base).get("BINDINGS", ())):
            keys.setdefault(binding.id or "", set()).add(binding.key)
    in_readme = readme_keys()
    assert in_readme <= set().union(*keys.values())
    assert [id_ for id_, bound in keys.items() if not bound & in_readme] == ["app.interrupt"]


# The document itself.


def test_every_file_that_the_architecture_names_exists() -> None:
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


def test_every_test_that_the_architecture_names_exists() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    names = set(re.findall(r"`(test_\w+)`", ARCHITECTURE))
    assert names
    assert {name for name in names if f"def {name}(" not in source} == set()
