"""`envwatch config`, and a configuration's effect on other commands: real processes."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from support import programs
from support.budget import first_quick
from support.builders import wire_rows
from support.documents import ROOT, blocks, page
from support.faulty_server import faulty_server
from support.pty_terminal import Terminal, without_settings

from envwatch.config.declared import ALTERNATIVES, COMMON, SETTINGS
from envwatch.config.describe import starter
from envwatch.config.hooks import HookSettings
from envwatch.config.schema import Command, Config, Document, OwnView, document_of
from envwatch.demo.server import Server
from envwatch.tui.themes import THEMES

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def config_file(home: Path, text: str) -> Path:
    path = home / ".config" / "envwatch" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def key_file(home: Path, name: str, mode: int = 0o600, content: str = KEY, *, at: Path | None = None) -> Path:
    path = at or home / ".config" / "envwatch" / name
    path.write_text(f"{content}\n")
    path.chmod(mode)
    return path


def run(home: Path, *arguments: str, **environ: str) -> Ended:
    done = programs.run([sys.executable, "-m", "envwatch", *arguments], without_settings(home, **environ))
    assert KEY.encode() not in done.stdout + done.stderr
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def rows(output: str) -> dict[str, list[str]]:
    parts = [re.split(r" {2,}", line, maxsplit=2) for line in output.splitlines()]
    return {name: rest for name, *rest in parts}


def test_key_and_address_are_shown_with_their_origins(tmp_path: Path) -> None:
    text = '[profiles.a]\napi_key_env = "A_KEY"\nbase_url = "https://a.example"\n[profiles.b]\napi_key_env = "A_KEY"\n'
    path = config_file(tmp_path, text)
    environ = {"A_KEY": KEY, "LETTA_API_KEY": KEY, "LETTA_BASE_URL": "https://c.example"}

    def shown(*arguments: str, **more: str) -> tuple[str, list[str]]:
        values = rows(run(tmp_path, "config", "show", *arguments, **environ, **more).out)
        return values["api_key"][1], values["base_url"]

    assert shown("--profile", "a") == ("A_KEY", ["https://a.example", f"{path}:3"])
    assert shown("--profile", "b") == ("A_KEY", ["https://api.letta.com", "default"])
    assert shown(ENVWATCH_PROFILE="a") == ("LETTA_API_KEY", ["https://c.example", "LETTA_BASE_URL"])
    del environ["LETTA_API_KEY"]
    assert shown(ENVWATCH_PROFILE="a") == ("A_KEY", ["https://a.example", f"{path}:3"])


@pytest.mark.parametrize(("alert_after", "is_short"), [("179s", True), ("3m", False)])
def test_a_short_alert_after_is_a_warning_for_every_profile(
    tmp_path: Path, alert_after: str, *, is_short: bool
) -> None:
    path = config_file(tmp_path, f'[profiles.a]\nalert_after = "{alert_after}"\n[profiles.b]\n')
    warning = f"envwatch: {path}:2: alert_after is under 3m: one outage may be several messages\n" * is_short
    fine = f"{path}: fine; checked 1 setting, 2 profiles (a, b)\n"
    assert run(tmp_path, "config", "validate") == (0, "", warning + fine)


def test_themes_and_bindings_are_checked_for_every_profile(tmp_path: Path) -> None:
    path = config_file(
        tmp_path,
        'theme = "envwatch-drak"\n[profiles.a]\nonline_for = 30\n[profiles.b]\ntheme = "dark"\n'
        '[keys]\nrow.explian = "x"\npoll.pause = "ctrl-x"\nrow.copy = "q"\napp.help = "h"\n',
    )
    ended = run(tmp_path, "config", "validate")
    assert ended.code == 2
    assert [line.removeprefix(f"envwatch: {path}") for line in ended.err.splitlines()] == [
        ":1: there is no such theme; did you mean envwatch-dark?",
        ":3: late_after (45s) must be shorter than online_for (30s)",
        f":5: there is no such theme; it must be {', '.join(theme.name for theme in THEMES)} or one of Textual's",
        ":7: keys.row.explian is no binding; did you mean row.explain?",
        ":8: keys.poll.pause cannot have ctrl-x as a key; write x, f5, ctrl+x or question_mark",
        ":9: keys.row.copy has a key that app.quit has too: give that another one",
    ]


def test_the_key_file_of_every_profile_is_checked(tmp_path: Path) -> None:
    names = ("good", "open", "short", "none")
    text = "".join(f'[profiles.{name}]\napi_key_file = "{name}.key"\n' for name in names)
    path = config_file(tmp_path, f'default_profile = "good"\n{text}')
    key_file(tmp_path, "good.key")
    readable = key_file(tmp_path, "open.key", 0o644)
    short = key_file(tmp_path, "short.key", content="sk-let")
    ended = run(tmp_path, "config", "validate")
    assert (ended.code, ended.out) == (2, "")
    assert "sk-let" not in ended.err
    missing = path.parent / "none.key"
    length = "a key has 8 to 512 characters without spaces"
    assert ended.err.splitlines() == [
        f"envwatch: {path}:5: api_key_file: the key file {readable} can be read by others: `chmod 600 {readable}`",
        f"envwatch: {path}:7: api_key_file: the key in {short} is no API key: {length}",
        f"envwatch: {path}:9: api_key_file: the key file {missing} cannot be read: No such file or directory",
    ]
    for name in names[1:]:
        key_file(tmp_path, f"{name}.key")
    fine = f"{path}: fine; checked 5 settings, 4 profiles (good, open, short, none), 4 key files\n"
    assert run(tmp_path, "config", "validate") == (0, "", fine)


def test_every_mistake_of_every_kind_is_listed_in_one_go(tmp_path: Path) -> None:
    path = config_file(
        tmp_path,
        'theme = "nrod"\ninterval 5\ncolumns = ["name",\nintervall = 5\npage_size = 0\nsort = 7\n'
        'default_profile = "wrok"\n[profiles.work]\nfilter = "mode:"\napi_key_file = "work.key"\n'
        'online_for = "20s"\nwalk_deadline = "5s"\n[profiles.work]\nbell = 1\n[keys]\nrow.explian = "z"\n',
    )
    readable = key_file(tmp_path, "work.key", 0o644)
    ended = run(tmp_path, "config", "validate", ENVWATCH_BELL="loud", ENVWATCH_PROFILE="home", ENVWATCH_THEMES="x")
    assert (ended.code, ended.out) == (2, "")
    starts = [
        f"{path}:1: there is no such theme; did you mean nord?",
        f"{path}:2: Expected '=' after a key in a key/value pair",
        f"{path}:3: Invalid value in line 4",
        f"{path}:4: intervall is no setting; did you mean interval?",
        f"{path}:5: page_size must be a whole number from 1 to 1000",
        f"{path}:6: sort must be one of problems, state, ",
        f"{path}:7: default_profile names no profile of this file; did you mean work?",
        f"{path}:9: profiles.work.filter cannot be used: mode needs a value",
        f"{path}:10: api_key_file: the key file {readable} can be read by others: `chmod 600 {readable}`",
        f"{path}:11: late_after (45s) must be shorter than online_for (20s)",
        f"{path}:12: page_deadline (10s) must not be longer than walk_deadline (5s)",
        f"{path}:13: profiles.work stands in this file twice",
        f"{path}:16: keys.row.explian is no binding; did you mean row.explain?",
        "ENVWATCH_THEMES is no setting; did you mean ENVWATCH_THEME?",
        "ENVWATCH_BELL must be true or false",
        f"ENVWATCH_PROFILE: {path} has no profile home; it has work",
    ]
    lines = ended.err.splitlines()
    assert [line.removeprefix("envwatch: ")[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts


def test_init_writes_a_private_file_once_and_says_where(tmp_path: Path) -> None:
    path = tmp_path / ".config" / "envwatch" / "config.toml"
    ended = run(tmp_path, "config", "init")
    assert (ended.code, ended.out) == (0, f"{path}\n")
    assert "envwatch config validate" in ended.err
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.write_text("bell = true\n")
    again = run(tmp_path, "config", "init")
    assert (again.code, again.out, again.err.count("\n"), path.read_text()) == (1, "", 1, "bell = true\n")
    assert f"{path} exists and is not overwritten: move it away first" in again.err


def test_the_comments_of_the_file_that_init_writes_are_plain_lines_of_a_terminal() -> None:
    text = starter()
    assert "\\" not in text
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert max(map(len, comments)) <= 120


def test_each_line_of_the_file_that_init_writes_is_a_setting_once_it_is_no_comment(tmp_path: Path) -> None:
    path, text = tmp_path / "config.toml", starter()
    key_file(tmp_path, "work.key", at=tmp_path / "work.key")
    (tmp_path / "inventory.txt").write_text("build-3\n")
    key_file(tmp_path, "serve-tokens", content="ann token-of-ann-0123456789", at=tmp_path / "serve-tokens")
    lines = text.splitlines()
    commented = [number for number, line in enumerate(lines) if line.startswith("#") and line[1:2] not in {" ", ""}]
    command = lines.index("#[commands.ssh]")  # followed by other tables
    headers = [number for number in commented if lines[number][1] == "["]
    names = [lines[number][1:].split(" =")[0] for number in commented if number not in headers]
    settings = {name for name in names if "." not in name}
    tables = {re.findall(r"\w+", lines[number])[0] for number in headers}
    assert settings | tables >= Config.model_fields.keys() | Command.model_fields.keys()
    known = (Config, Command, OwnView, HookSettings)
    assert settings <= {name for model in known for name in model.model_fields}
    assert document_of(path, text.encode()) == (Document(path, Config(), {}), ())
    for number in commented:
        chosen = {number, *headers, *range(command, len(lines))} & {*commented}
        shown = [line[1:] if place in chosen else line for place, line in enumerate(lines)]
        document, mistakes = document_of(path, "\n".join(shown).encode())
        assert mistakes == ()
        assert number + 1 in document.lines.values()
    alternatives = {number for number in commented if re.match("#(api_key|ping_url)_env", lines[number])}
    chosen = {*commented} - alternatives
    path.write_text("\n".join(line[1:] if place in chosen else line for place, line in enumerate(lines)))
    ended = run(tmp_path, "config", "validate", "--config", str(path))
    assert (ended.code, ended.out) == (0, ""), ended.err
    others = "1 profile (work), the keys of 2 actions, 1 command (ssh), 1 view (gpu), 1 hook, 1 key file"
    assert f"checked {len(settings & Config.model_fields.keys()) - len(alternatives)} settings, {others}" in ended.err


def test_every_declared_setting_is_taken_from_the_file_and_from_its_variable(tmp_path: Path) -> None:
    shown_apart = {"base_url", *ALTERNATIVES["key"]}
    (tmp_path / ".config" / "envwatch").mkdir(parents=True)
    examples = {name: declared.metadata["example"] for name, declared in SETTINGS.items()}
    del examples["api_key_env"], examples["ping_url_env"]
    lines = {name: number for number, name in enumerate(examples, 1)}
    path = config_file(tmp_path, "".join(f"{name} = {example}\n" for name, example in examples.items()))
    of_file = rows(run(tmp_path, "config", "show").out)
    assert {name: of_file[name][1] for name in lines.keys() - shown_apart} == {
        name: f"{path}:{number}" for name, number in lines.items() if name not in shown_apart
    }

    def written(name: str) -> str:
        value = tomllib.loads(f"value = {examples[name]}")["value"]
        if not isinstance(value, list):
            return str(value)
        return examples[name] if isinstance(value[0], dict) else ",".join(value)

    of_variables = rows(
        run(tmp_path, "config", "show", **{f"ENVWATCH_{name.upper()}": written(name) for name in COMMON}).out
    )
    assert {name: of_variables[name][1] for name in COMMON} == {name: f"ENVWATCH_{name.upper()}" for name in COMMON}
    paths = {name for name in COMMON if name.endswith("_file")}
    assert {name: of_variables[name][0] for name in COMMON if name not in paths} == {
        name: of_file[name][0] for name in COMMON if name not in paths
    }


OPTIONS_OF_WIDGETS: Final = """
import os
from envwatch.config.settings import all_settings_of
from envwatch.tui.state import DisplayOptions
print(DisplayOptions(all_settings_of({}, os.environ)[0]).settings.doors)
"""


@pytest.mark.parametrize(
    ("module", "before"),
    [
        ("config/declared.py", "    # The empty default stands for the permanent rows.\n"),
        ("views/screen_settings.py", "    # The empty default stands for the columns that fit.\n"),
    ],
)
def test_a_setting_that_is_declared_once_is_in_file_variable_schema_and_output(
    tmp_path: Path, module: str, before: str
) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    shutil.copytree(ROOT / "envwatch", copy / "envwatch", ignore=shutil.ignore_patterns("__pycache__"))
    declared = copy / "envwatch" / module
    lines = [
        'doors: int = setting(3, bounds=(1, 9), example="4", part="view")',
        '"""How many doors are open."""',
    ]
    text = declared.read_text(encoding="utf-8")
    assert text.count(before) == 1
    declared.write_text(text.replace(before, "".join(f"    {line}\n" for line in lines) + before), encoding="utf-8")

    def output(*arguments: str, **environ: str) -> Ended:
        return python("-m", "envwatch", *arguments, **environ)

    def python(*arguments: str, **environ: str) -> Ended:
        environ = without_settings(home, PYTHONPATH=str(copy), **environ)
        done = subprocess.run(
            [sys.executable, *arguments], env=environ, cwd=copy, capture_output=True, text=True, check=False
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    assert rows(output("config", "show").out)["doors"] == ["3", "default"]
    assert output("config", "init").code == 0
    path = home / ".config" / "envwatch" / "config.toml"
    init = path.read_text(encoding="utf-8")
    assert "\n# How many doors are open.\n#doors = 4\n" in init
    path.write_text(init.replace("#doors", "doors"), encoding="utf-8")
    assert rows(output("config", "show").out)["doors"][0] == "4"
    assert rows(output("config", "show", ENVWATCH_DOORS="9").out)["doors"] == ["9", "ENVWATCH_DOORS"]
    refused = output("config", "show", ENVWATCH_DOORS="10")
    assert refused == (2, "", "envwatch: ENVWATCH_DOORS must be a whole number from 1 to 9\n")
    in_schema = json.loads(output("config", "schema").out)["$defs"]["Profile"]["properties"]["doors"]
    assert (in_schema["minimum"], in_schema["maximum"]) == (1, 9)
    assert in_schema["description"] == "How many doors are open."
    if module == "views/screen_settings.py":
        assert python("-c", OPTIONS_OF_WIDGETS, ENVWATCH_DOORS="9") == (0, "9\n", "")


@pytest.mark.parametrize("arguments", [("config", "validate"), ("config", "show"), ("list",)])
def test_a_folder_that_cannot_be_entered_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    folder = tmp_path / ("x" * 300)  # which not even root can enter
    ended = run(tmp_path, *arguments, LETTA_API_KEY=KEY, XDG_CONFIG_HOME=str(folder))
    line = f"envwatch: {folder}/envwatch/config.toml: cannot be read: File name too long\n"
    assert ended == (2, "", line)


def test_a_key_in_the_file_is_never_repeated(tmp_path: Path) -> None:
    config_file(tmp_path, f'api_key = "{KEY}"\nuser = 1\n[profiles."{KEY}"]\n')
    for action in ("show", "validate"):
        assert "api_key_file" in run(tmp_path, "config", action).err


def test_the_example_with_every_setting_fits_the_schema(tmp_path: Path) -> None:
    schema = json.loads(run(tmp_path, "config", "schema").out)
    assert schema["additionalProperties"] is False
    (example,) = (block.text for block in blocks(page("configuration.md")) if block.language == "toml")
    path = config_file(tmp_path, example)
    key_file(tmp_path, "home.key")
    tokens = path.parent / "serve-tokens"
    tokens.write_text("ann ew-0123456789abcdef0123456789\n")
    tokens.chmod(0o600)
    (path.parent / "inventory.txt").write_text("build-3\n")
    ended = run(tmp_path, "config", "validate")
    assert (ended.code, ended.out, ended.err.startswith(f"{path}: fine; checked ")) == (0, "", True)
    table = tomllib.loads(example)
    in_example = table.keys() | {name for profile in table["profiles"].values() for name in profile}
    assert in_example == set(schema["properties"]) - {"ephemeral"}, "ephemeral is for files of 1.1.0"


async def test_a_listing_uses_the_settings_of_its_profile(tmp_path: Path) -> None:
    async def run_beside(*arguments: str, **environ: str) -> Ended:
        return await asyncio.to_thread(run, tmp_path, "list", *arguments, **environ)

    async with faulty_server(wire_rows(3)) as faulty:
        config_file(
            tmp_path,
            f'page_size = 2\n[profiles.work]\nbase_url = "{faulty.url}"\napi_key_file = "work.key"\n'
            'online_only = true\nsource = "remote"\nuser = "me"\n',
        )
        key = key_file(tmp_path, "work.key")
        ended = await run_beside("--profile", "work", "-o", "jsonl")
        assert ended.code == 0, ended.err
        asked = {"limit": "2", "onlineOnly": "true", "source": "remote", "userId": "me"}
        assert faulty.seen[0].query == asked
        await run_beside("--profile=work", "--no-online-only", "--user=u", ENVWATCH_SOURCE="local")
        assert faulty.seen[-1].query.items() >= {"limit": "2", "source": "local", "userId": "u"}.items()
        assert "onlineOnly" not in faulty.seen[-1].query
        key.chmod(0o644)
        code, out, line = await run_beside("--profile", "work")
        assert (code, out, line.count("\n"), line[:10]) == (2, "", 1, "envwatch: ")
        assert f"chmod 600 {key}" in line


def test_the_dashboard_uses_the_settings_of_its_profile(tmp_path: Path) -> None:
    with Server(30, key=KEY) as server:
        config_file(
            tmp_path,
            f'default_profile = "work"\n[profiles.work]\nbase_url = "{server.base_url}"\napi_key_env = "WORK_KEY"\n'
            'filter = "name:chen-nas"\nsort = "version"\n[keys]\napp.help = "h"\n',
        )
        with Terminal.of_envwatch(home=tmp_path, columns=170, lines=75, environ={"WORK_KEY": KEY}) as terminal:
            terminal.wait_for(r" 1/30")
            terminal.wait_for("^ work · ")
            terminal.wait_for("VERSION▲")
            terminal.press("?", "h")
            terminal.wait_for("the key from WORK_KEY")
            terminal.wait_for(r" h +Help")
            terminal.press("q", "q")
            assert terminal.wait_for_end() == 0
        assert KEY.encode() not in terminal.received


@pytest.mark.parametrize(
    ("query", "shown"), [("name:chen-nas", r" 1/\d\d "), ("", r"unrestricted +(?:\d behind [\d.]+ +)?live")]
)
def test_a_filter_on_the_command_line_goes_before_the_configurations(tmp_path: Path, query: str, shown: str) -> None:
    config_file(tmp_path, 'filter = "no-such-thing"\n')
    with Server(30, key=KEY) as server:
        environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url, "ENVWATCH_FILTER": "nor-such-a-thing"}
        with Terminal.of_envwatch("--filter", query, home=tmp_path, columns=100, environ=environ) as terminal:
            terminal.wait_for(shown)
            terminal.wait_for("chen-nas")
            terminal.press("q")
            assert terminal.wait_for_end() == 0


@pytest.mark.parametrize("named", first_quick(["a,b", "no-such-profile", ","]))
def test_the_demo_has_no_profile_whatever_the_variable_names(tmp_path: Path, named: str) -> None:
    environ = {"ENVWATCH_PROFILE": named}
    with Terminal.of_envwatch(
        "demo", "--no-history", "--size", "5", home=tmp_path, columns=100, environ=environ
    ) as terminal:
        terminal.wait_for("^ demo · ")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_the_demo_takes_a_filter_too(tmp_path: Path) -> None:
    with Terminal.of_envwatch(
        "demo", "--no-history", "--filter", "name:chen-nas", home=tmp_path, columns=100
    ) as terminal:
        terminal.wait_for(r" 1/\d\d")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('theme = "envwatch-drak"', "there is no such theme; did you mean envwatch-dark?"),
        ('[keys]\nrow.explian = "x"', "keys.row.explian is no binding; did you mean row.explain?"),
    ],
)
def test_an_unknown_theme_or_binding_is_reported_before_the_screen_is_taken(
    tmp_path: Path, text: str, message: str
) -> None:
    config_file(tmp_path, text)
    environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": "http://127.0.0.1:9"}
    with Terminal.of_envwatch(home=tmp_path, columns=200, environ=environ) as terminal:
        assert terminal.wait_for_end() == 2
        assert terminal.text.strip().endswith(message)
        assert b"\x1b" not in terminal.received
