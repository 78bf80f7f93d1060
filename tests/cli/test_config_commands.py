"""`envwatch config`, and the setting `timezone` in other commands.

The transcripts have the output of each action; `tests/config` has each mistake.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from support.documents import ROOT
from support.faulty_server import KEY
from support.pty_terminal import without_settings

from envwatch.cli.arguments import Exit, Options, StopError, options_in
from envwatch.cli.bootstrap import all_settings_for, past_moment, read_display_settings
from envwatch.config.declared import ALTERNATIVES, COMMON, SETTINGS
from envwatch.config.describe import starter, value_text
from envwatch.config.hooks import HookSettings
from envwatch.config.schema import Command, Config, Document, OwnView, parse_document
from envwatch.deliver.delivery import Apprise
from envwatch.model.times import in_zone
from envwatch.screen.themes import THEMES

if TYPE_CHECKING:
    from pathlib import Path

    from support.in_process import Envwatch


def key_file(path: Path, mode: int = 0o600, content: str = KEY) -> Path:
    path.write_text(f"{content}\n")
    path.chmod(mode)
    return path


def rows(output: str) -> dict[str, list[str]]:
    parts = [re.split(r" {2,}", line, maxsplit=2) for line in output.splitlines()]
    return {name: rest for name, *rest in parts}


# Validation.


@pytest.mark.parametrize(("alert_after", "is_short"), [("179s", True), ("3m", False)])
def test_a_short_alert_after_is_a_warning_for_every_profile(
    envwatch: Envwatch, alert_after: str, *, is_short: bool
) -> None:
    path = envwatch.write_config(f'[profiles.a]\nalert_after = "{alert_after}"\n[profiles.b]\n')
    warning = f"envwatch: {path}:2: alert_after is under 3m: one outage may be several messages\n" * is_short
    fine = f"{path}: fine; checked 1 setting, 2 profiles (a, b)\n"
    assert envwatch("config", "validate") == (0, "", warning + fine)


def test_variables_programs_and_addresses_that_cannot_be_used_here_are_warnings_with_line_and_remedy(
    envwatch: Envwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Apprise, "_time_limit", 60.0)  # a busy machine starts a program slowly
    path = envwatch.write_config(
        'ping_url_env = "PING"\n'
        '[[hooks]]\nname = "key"\nformat = "pagerduty"\nkey_env = "PD_KEY"\n'
        '[[hooks]]\nname = "address"\nurl_env = "CHAT"\n'
        '[[hooks]]\nname = "program"\ncommand = ["/none/page"]\n'
        '[[hooks]]\nname = "service"\napprise = ["nosuch://topic"]\n'
        '[[hooks]]\nname = "good"\ncommand = ["true"]\n'
        '[profiles.work]\napi_key_env = "WORK_KEY"\n'
    )
    ended = envwatch("config", "validate", CHAT="ftp://example.com")
    *warnings, fine = ended.err.splitlines()
    starts = [
        ":1: ping_url_env: PING is not set",
        ":2: hook key: PD_KEY is not set",
        ":6: hook address: the address must start with https://",
        ":9: hook program: there is no program /none/page that can be run",
        ":12: hook service: apprise does not know address 1",
        ":19: api_key_env: WORK_KEY is not set",
    ]
    lines = [line.removeprefix(f"envwatch: {path}") for line in warnings]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts
    assert all(re.search(r": (correct|install) ", line) for line in lines)
    assert ended.code == 0
    assert "fine; checked" in fine


def test_themes_keys_views_and_commands_are_checked_for_every_profile(envwatch: Envwatch) -> None:
    path = envwatch.write_config(
        'theme = "envwatch-drak"\nview = "x"\n[profiles.a]\nonline_for = 30\n[profiles.b]\ntheme = "dark"\n'
        '[keys]\nmachine.explian = "x"\npoll.pause = "ctrl-x"\nmachine.copy = "q"\napp.help = "h"\n'
        '[views.gpu]\nkey = "n"\nsort = "y"\n[views.cpu]\nkey = "V"\n[commands.ssh]\nkey = "V"\nrun = ["x"]\n'
    )
    ended = envwatch("config", "validate")
    starts = [
        ":1: there is no such theme; did you mean envwatch-dark?",
        ":2: view: there is no view x; there are gpu, ",
        ":4: late_after (45s) must be shorter than online_for (30s)",
        f":6: there is no such theme; it must be {', '.join(theme.name for theme in THEMES)} or one of Textual's",
        ":8: keys.machine.explian is no binding; did you mean machine.explain?",
        ":9: keys.poll.pause cannot have ctrl-x as a key; write x, f5, ctrl+x or question_mark",
        ":10: keys.machine.copy has a key that app.quit has too: give that another one",
        ":13: views.gpu.key is the key of find.ne",
        ":14: views.gpu.sort must be one of losse",
        ":18: commands.ssh.key is the key of view",
    ]
    lines = [line.removeprefix(f"envwatch: {path}") for line in ended.err.splitlines()]
    assert ended.code == 2
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts


def test_the_key_file_of_every_profile_is_checked(envwatch: Envwatch) -> None:
    names = ("good", "open", "short", "none")
    text = "".join(f'[profiles.{name}]\napi_key_file = "{name}.key"\n' for name in names)
    path = envwatch.write_config(f'default_profile = "good"\n{text}')
    files = {name: path.with_name(f"{name}.key") for name in names}
    key_file(files["good"])
    readable, length = key_file(files["open"], 0o644), "a key has 8 to 512 characters without spaces"
    key_file(files["short"], content="sk-let")
    ended = envwatch("config", "validate")
    assert (ended.code, ended.out) == (2, "")
    assert "sk-let" not in ended.err
    assert ended.err.splitlines() == [
        f"envwatch: {path}:5: api_key_file: the key file {readable} can be read by others: `chmod 600 {readable}`",
        f"envwatch: {path}:7: api_key_file: the key in {files['short']} is no API key: {length}",
        f"envwatch: {path}:9: api_key_file: the key file {files['none']} cannot be read: No such file or directory",
    ]
    for name in names[1:]:
        key_file(files[name])
    fine = f"{path}: fine; checked 5 settings, 4 profiles (good, open, short, none), 4 key files\n"
    assert envwatch("config", "validate") == (0, "", fine)


def test_an_unusable_file_of_tokens_is_a_mistake(envwatch: Envwatch) -> None:
    path = envwatch.write_config('serve_name = "ops"\nserve_tokens_file = "tokens"\n')
    tokens = key_file(path.with_name("tokens"), 0o644, "ann token-of-ann-0123456789")
    remedy = f"the file of tokens {tokens} can be read by others: `chmod 600 {tokens}`"
    assert envwatch("config", "validate") == (2, "", f"envwatch: {path}:2: serve_tokens_file: {remedy}\n")
    tokens.chmod(0o600)
    assert envwatch("config", "validate").code == 0
    assert f"serve_tokens_file    {tokens}" in envwatch("config", "show").out


def test_every_mistake_of_every_kind_is_listed_in_one_go(envwatch: Envwatch) -> None:
    path = envwatch.write_config(
        'theme = "nrod"\ninterval 5\ncolumns = ["name",\nintervall = 5\npage_size = 0\nsort = 7\n'
        'default_profile = "wrok"\n[profiles.work]\nfilter = "mode:"\napi_key_file = "work.key"\n'
        'online_for = "20s"\nwalk_deadline = "5s"\n[profiles.work]\nbell = 1\n[keys]\nmachine.explian = "z"\n',
    )
    readable = key_file(path.with_name("work.key"), 0o644)
    ended = envwatch("config", "validate", ENVWATCH_BELL="loud", ENVWATCH_PROFILE="home", ENVWATCH_THEMES="x")
    assert (ended.code, ended.out) == (2, "")
    starts = [
        f"{path}:1: there is no such theme; did you mean nord?",
        f"{path}:2: Expected '=' after a key in a key/value pair",
        f"{path}:3: Invalid value in line 4",
        f"{path}:4: intervall is no setting; did you mean interval?",
        f"{path}:5: page_size must be a whole number from 1 to 1000",
        f"{path}:6: sort must be one of losses, state, ",
        f"{path}:7: default_profile names no profile of this file; did you mean work?",
        f"{path}:9: profiles.work.filter cannot be used: mode needs a value",
        f"{path}:10: api_key_file: the key file {readable} can be read by others: `chmod 600 {readable}`",
        f"{path}:11: late_after (45s) must be shorter than online_for (20s)",
        f"{path}:12: page_deadline (10s) must not be longer than walk_deadline (5s)",
        f"{path}:13: profiles.work stands in this file twice",
        f"{path}:16: keys.machine.explian is no binding; did you mean machine.explain?",
        "ENVWATCH_THEMES is no setting; did you mean ENVWATCH_THEME?",
        "ENVWATCH_BELL must be true or false",
        f"ENVWATCH_PROFILE: {path} has no profile home; it has work",
    ]
    lines = ended.err.splitlines()
    assert [line.removeprefix("envwatch: ")[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts


# The file of `config init`.


@pytest.mark.parametrize(
    ("text", "variables", "mistake"),
    [
        (None, {"ENVWATCH_THEME": "envwatch-drak"}, "ENVWATCH_THEME: there is no such theme; did you mean"),
        ("[views.gpu]\n", {"ENVWATCH_VIEW": "gpuu"}, "ENVWATCH_VIEW: "),
        ("[views.gpu]\n", {"ENVWATCH_VIEW": "gpu"}, None),
        ("[profiles.a]\nlate_after = 50\n", {"ENVWATCH_ONLINE_FOR": "60", "ENVWATCH_PROFILE": "a"}, None),
        (
            "[profiles.a]\nlate_after = 50\n",
            {"ENVWATCH_ONLINE_FOR": "48", "ENVWATCH_PROFILE": "a"},
            "{path}:2: late_after (50s) must be shorter than online_for (48s)",
        ),
        (None, {"ENVWATCH_EXPECT_FILE": "missing"}, "ENVWATCH_EXPECT_FILE: expect_file cannot be read"),
    ],
)
def test_values_of_variables_are_checked_together_with_the_file(
    text: str | None, variables: dict[str, str], mistake: str | None, envwatch: Envwatch
) -> None:
    path = None if text is None else envwatch.write_config(text)
    ended = envwatch("config", "validate", **variables)
    if mistake is None:
        assert ended.code == 0
    else:
        assert ended.code == 2
        assert ended.line.startswith(mistake.format(path=path))


def test_init_writes_a_private_file_once_and_says_where(envwatch: Envwatch) -> None:
    path = envwatch.home / "envwatch" / "config.toml"
    ended = envwatch("config", "init")
    assert (ended.code, ended.out) == (0, f"{path}\n")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.write_text("bell = true\n")
    again = envwatch("config", "init")
    assert (again.code, path.read_text()) == (1, "bell = true\n")
    assert again.line.startswith(f"{path} exists and is not overwritten: move it away first")


def test_the_comments_of_the_first_file_are_plain_lines_of_a_terminal() -> None:
    text = starter()
    assert "\\" not in text
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert max(map(len, comments)) <= 120


def test_a_new_file_has_the_default_of_each_setting_or_an_example() -> None:
    settings, _, _ = starter().partition("\n# Keys of your own")
    shown = dict(line[1:].split(" = ", 1) for line in settings.splitlines() if re.match(r"#\w+ = ", line))
    names = SETTINGS.keys()
    values = {name: tomllib.loads(f"value = {shown[name]}")["value"] for name in names}
    for name in names:
        declared = SETTINGS[name]
        if shown[name].endswith("  # an example"):
            assert declared.default in (None, "", ())
        else:
            assert value_text(declared.default) in (str(values[name]), str(values[name]).lower())
    assert shown["bell"] == "false  # or true"
    assert shown["view"] == '"gpu"  # an example'


def test_each_commented_line_of_the_first_file_is_a_setting(envwatch: Envwatch, tmp_path: Path) -> None:
    path, text = tmp_path / "config.toml", starter()
    key_file(tmp_path / "work.key")
    (tmp_path / "inventory.txt").write_text("build-3\n")
    key_file(tmp_path / "serve-tokens", content="ann token-of-ann-0123456789")
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
    assert parse_document(path, text.encode()) == (Document(path, Config(), {}), ())
    for number in commented:
        chosen = {number, *headers, *range(command, len(lines))} & {*commented}
        shown = [line[1:] if place in chosen else line for place, line in enumerate(lines)]
        document, mistakes = parse_document(path, "\n".join(shown).encode())
        assert mistakes == ()
        assert number + 1 in document.lines.values()
    alternatives = {number for number in commented if re.match("#(api_key|ping_url)_env", lines[number])}
    chosen = {*commented} - alternatives
    path.write_text("\n".join(line[1:] if place in chosen else line for place, line in enumerate(lines)))
    ended = envwatch("config", "validate", "--config", str(path))
    assert (ended.code, ended.out) == (0, ""), ended.err
    others = "1 profile (work), the keys of 2 actions, 1 command (ssh), 1 view (gpu), 1 hook, 1 key file"
    assert f"checked {len(settings & Config.model_fields.keys()) - len(alternatives)} settings, {others}" in ended.err


# Settings of a file and of variables.


def test_every_declared_setting_is_taken_from_the_file_and_from_its_variable(envwatch: Envwatch) -> None:
    shown_apart = {"base_url", *ALTERNATIVES["key"]}
    examples = {name: declared.metadata["example"] for name, declared in SETTINGS.items()}
    del examples["api_key_env"], examples["ping_url_env"]
    lines = {name: number for number, name in enumerate(examples, 1)}
    path = envwatch.write_config("".join(f"{name} = {example}\n" for name, example in examples.items()))
    of_file = rows(envwatch("config", "show").out)
    assert {name: of_file[name][1] for name in lines.keys() - shown_apart} == {
        name: f"{path}:{number}" for name, number in lines.items() if name not in shown_apart
    }

    def written(name: str) -> str:
        value = tomllib.loads(f"value = {examples[name]}")["value"]
        if not isinstance(value, list):
            return str(value)
        return examples[name] if isinstance(value[0], dict) else ",".join(value)

    of_variables = rows(
        envwatch("config", "show", **{f"ENVWATCH_{name.upper()}": written(name) for name in COMMON}).out
    )
    assert {name: of_variables[name][1] for name in COMMON} == {name: f"ENVWATCH_{name.upper()}" for name in COMMON}
    paths = {name for name in COMMON if name.endswith("_file")}
    assert {name: of_variables[name][0] for name in COMMON if name not in paths} == {
        name: of_file[name][0] for name in COMMON if name not in paths
    }


DECLARED: Final = ("the permanent rows", "the columns that fit")
"""Ends of a comment above which the test declares one more setting: of the commands, and of the screen."""

PROBE: Final = """
import json, os, sys
from envwatch.cli.main import main
from envwatch.config.settings import read_settings
from envwatch.screen.state import DisplayOptions
for variables, arguments in json.loads(sys.argv[1]):
    os.environ |= variables
    print(main(["config", *arguments]), end="\\f", flush=True)
print(DisplayOptions(read_settings({}, os.environ)[0]).settings.doors1)
"""


def test_a_setting_declared_once_is_in_file_variable_schema_and_output(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "envwatch", tmp_path / "envwatch", ignore=shutil.ignore_patterns("__pycache__"))
    declared = tmp_path / "envwatch/config/declared.py"
    for number, comment in enumerate(DECLARED):
        text, before = declared.read_text(encoding="utf-8"), f"    # The empty default stands for {comment}.\n"
        assert text.count(before) == 1
        scope = f'bounds=(1, 9), example="{number + 4}", part="view"'
        setting = f'    doors{number}: int = setting(3, "How many doors are open.", {scope})\n'
        declared.write_text(text.replace(before, setting + before))
    (tmp_path / "c.toml").write_text("doors0 = 4\ndoors1 = 5\n")
    steps: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["show"]),
        ({}, ["show", "--config", "c.toml"]),
        ({}, ["schema"]),
        ({}, ["init", "--config", "new.toml"]),
        ({"ENVWATCH_DOORS0": "10"}, ["show"]),
        ({"ENVWATCH_DOORS0": "9", "ENVWATCH_DOORS1": "8"}, ["show"]),
    ]
    environ = without_settings(tmp_path, PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-c", PROBE, json.dumps(steps)]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
    default, of_file, in_schema, _, refused, of_variables, in_widgets = done.stdout.split("\f")
    for number in (0, 1):
        name = f"doors{number}"
        assert rows(default)[name] == ["3", "default"]
        assert rows(of_file)[name] == [f"{number + 4}", f"c.toml:{number + 1}"]
        assert rows(of_variables)[name] == [f"{9 - number}", f"ENVWATCH_DOORS{number}"]
        assert f"\n# How many doors are open.\n#{name} = 3  # or {number + 4}\n" in (tmp_path / "new.toml").read_text()
        declaration = json.loads(in_schema.removesuffix("0"))["$defs"]["Profile"]["properties"][name]
        assert (declaration["minimum"], declaration["maximum"]) == (1, 9)
        assert declaration["description"] == "How many doors are open."
    assert (refused, in_widgets) == ("2", "8\n")
    assert "envwatch: ENVWATCH_DOORS0 must be a whole number from 1 to 9\n" in done.stderr


# The setting `timezone` in commands and options.

ZONES: Final = """
timezone = "Asia/Tokyo"
[profiles.kathmandu]
timezone = "Asia/Kathmandu"
[profiles.tokyo]
"""
NEW_YEAR: Final = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "environ", "hours"),
    [
        ({"profile": "kathmandu"}, {}, 5.75),
        ({"profile": "tokyo,kathmandu"}, {}, 9),
        ({"profile": "kathmandu,tokyo"}, {}, 5.75),
        ({}, {"ENVWATCH_TIMEZONE": "Asia/Kathmandu"}, 5.75),
    ],
)
def test_the_zone_is_of_the_variable_or_of_the_first_profile(
    envwatch: Envwatch, options: dict[str, str], environ: dict[str, str], hours: float
) -> None:
    config = str(envwatch.write_config(ZONES))
    all_settings_for(Options(command="list", config=config, **options), environ)
    assert in_zone(NEW_YEAR).utcoffset() == timedelta(hours=hours)


def test_the_demo_has_the_zone_of_the_file_and_no_profile(envwatch: Envwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    own = in_zone(NEW_YEAR).utcoffset()
    read_display_settings(options_in(["demo"]))
    assert in_zone(NEW_YEAR).utcoffset() == own
    envwatch.write_config(ZONES)
    for named in ("kathmandu", "a,b", ","):
        monkeypatch.setenv("ENVWATCH_PROFILE", named)
        assert read_display_settings(options_in(["demo"])).profile == "default"
        assert in_zone(NEW_YEAR).utcoffset() == timedelta(hours=9)


@pytest.mark.parametrize(("zone", "has_come"), [("Pacific/Kiritimati", True), ("UTC", False)])
def test_a_moment_without_an_offset_has_come_in_the_zone_or_not(zone: str, *, has_come: bool) -> None:
    """Kiritimati is 14 hours ahead of UTC."""
    text = f"{datetime.now(UTC) + timedelta(hours=7):%Y-%m-%d %H:%M}"
    options = options_in(["record", "-o", "a.rec", "--since", text])
    all_settings_for(options, {"ENVWATCH_TIMEZONE": zone})
    if has_come:
        ago = datetime.now(UTC) - past_moment(options.since)
        assert timedelta(hours=6.5) < ago < timedelta(hours=7.5)
        return
    with pytest.raises(StopError, match=r"has not come yet: here it is [-0-9]{10} [:0-9]{8}Z$") as stop:
        past_moment(options.since)
    assert stop.value.code is Exit.USAGE
