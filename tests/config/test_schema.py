"""The configuration file: settings, messages about mistakes, and precedence of values."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envwatch.cli.arguments import StopError, options_in
from envwatch.config.declared import DEMO_SETTINGS
from envwatch.config.schema import Config, schema
from envwatch.config.settings import Settings, document_at, read_settings
from envwatch.config.toml_text import parsed
from envwatch.config.values import ConfigError, duration, whole_number
from envwatch.model.limits import Limits
from envwatch.views.command_context import ROW_VARIABLES, RowCommand
from envwatch.views.table.columns import COLUMNS

WHOLE = """\
default_profile = "work"
theme = "envwatch-light"
interval = "10s"

[profiles.work]
base_url = "https://letta.example.com/"
api_key_env = "WORK_KEY"
filter = "mode:unrestricted !os:darwin"
columns = ["name", "mode", "up"]
sort = "version"
interval = "2m"
page_size = 50
online_only = true
source = "remote"
user = "user-1"
online_for = "90s"
late_after = 40
requests_per_minute = 30
page_deadline = 5.5
walk_deadline = "1m30s"
serve_tokens_file = "tokens"
serve_name = "ops-1"

[profiles."at.home"]
api_key_file = "keys/home"

[keys]
machine.explain = "x,f5"
"poll.pause" = ["p", "P"]
"""


def config_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def mistakes(folder: Path, text: str | bytes) -> list[str]:
    path = config_file(folder, text)
    with pytest.raises(ConfigError) as caught:
        document_at(path, must_exist=False)
    assert all("\n" not in line for line in caught.value.lines)
    assert all(line.startswith(str(path)) for line in caught.value.lines)
    return [line.removeprefix(str(path)) for line in caught.value.lines]


def settings(folder: Path, text: str = "", environ: dict[str, str] | None = None, **options: Any) -> Settings:
    path = config_file(folder, text)
    return settings_of({"config": str(path)} | options, environ or {})


def settings_of(options: dict[str, Any], environ: dict[str, str], **more: Any) -> Settings:
    (held,) = read_settings(options, environ, **more)
    return held


def refusal(folder: Path, text: str = "", environ: dict[str, str] | None = None, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        settings(folder, text, environ, **options)
    (line,) = caught.value.lines
    return line


def test_every_setting_of_a_profile_is_taken(tmp_path: Path) -> None:
    held = settings(tmp_path, WHOLE)
    assert held.profile == "work"
    assert held.base_url == "https://letta.example.com"
    assert (held.api_key_env, held.api_key_file) == ("WORK_KEY", None)
    assert held.filter == "mode:unrestricted !os:darwin"
    assert held.columns == ("name", "mode", "up")
    assert (held.sort, held.theme) == ("version", "envwatch-light")
    assert (held.online_only, held.source, held.user) == (True, "remote", "user-1")
    assert (held.serve_tokens_file, held.serve_name) == (tmp_path / "tokens", "ops-1")
    assert held.limits == Limits(
        online_for=timedelta(seconds=90),
        late_after=timedelta(seconds=40),
        interval=timedelta(minutes=2),
        requests_per_minute=30,
        page_size=50,
        page_deadline=timedelta(seconds=5.5),
        walk_deadline=timedelta(seconds=90),
    )
    assert held.keys == {"machine.explain": ("x", "f5"), "poll.pause": ("p", "P")}


def test_another_profile_has_its_own_values_and_those_from_outside(tmp_path: Path) -> None:
    held = settings(tmp_path, WHOLE, profile="at.home")
    assert held.api_key_file == tmp_path / "keys" / "home"
    assert held.limits.interval == timedelta(seconds=10)
    assert held.base_url == ""


def test_each_value_has_its_line_as_origin(tmp_path: Path) -> None:
    held = settings(tmp_path, WHOLE, {"ENVWATCH_PAGE_SIZE": "7"}, user="user-2")
    path = tmp_path / "config.toml"
    written = {
        "profile": 'default_profile = "work"',
        "theme": 'theme = "envwatch-light"',
        "interval": 'interval = "2m"',
    }
    written |= {"keys.machine.explain": 'machine.explain = "x,f5"', "keys.poll.pause": '"poll.pause" = ["p", "P"]'}
    for name, line in written.items():
        assert held.origin(name) == f"{path}:{WHOLE.splitlines().index(line) + 1}"
    assert held.origin("page_size") == "ENVWATCH_PAGE_SIZE"
    assert held.origin("user") == "--user"
    assert settings(tmp_path).origin("user") == "default"


def test_options_override_variables_and_these_the_file_and_this_what_is_remembered(tmp_path: Path) -> None:
    path = config_file(tmp_path, "sort = 'name'\npage_size = 1\n[profiles.default]\npage_size = 2")
    options, environ = {"config": str(path)}, {"ENVWATCH_PAGE_SIZE": "3"}
    left = {"sort": "mode", "theme": "nord"}
    held = settings_of(options, {}, remembered=left)
    assert (held.limits.page_size, held.sort, held.theme, held.origin("theme")) == (2, "name", "nord", "remembered")
    assert settings_of(options, environ).limits.page_size == 3
    assert settings_of(options | {"page_size": 4}, environ).limits.page_size == 4
    assert settings_of({}, {"ENVWATCH_CONFIG": str(path)}).limits.page_size == 2


def test_an_option_can_undo_a_setting_of_the_file(tmp_path: Path) -> None:
    assert settings(tmp_path, "online_only = true", online_only=False).online_only is False
    assert settings(tmp_path, "filter = 'web'", {"ENVWATCH_FILTER": "nas"}, filter="").filter == ""


def test_a_profile_can_undo_the_filter_from_outside(tmp_path: Path) -> None:
    text = "filter = 'web'\n[profiles.a]\nfilter = ''\n[profiles.b]\n"
    assert settings(tmp_path, text, profile="b").filter == "web"
    all_of_a = settings(tmp_path, text, profile="a")
    assert (all_of_a.filter, all_of_a.origin("filter")) == ("", f"{tmp_path}/config.toml:3")
    assert settings(tmp_path, text, {"ENVWATCH_FILTER": " "}, profile="b").filter == "web"


def test_a_file_and_a_variable_can_ask_for_problems_first(tmp_path: Path) -> None:
    text = "sort = 'mode'\n[profiles.a]\nsort = 'losses'\n[profiles.b]\n"
    path = config_file(tmp_path, text)
    left = {"sort": "version"}
    options = {"config": str(path)}
    held = settings_of(options | {"profile": "a"}, {}, remembered=left)
    assert (held.sort, held.origin("sort")) == (None, f"{path}:3")
    held = settings_of(options, {"ENVWATCH_SORT": "losses"}, remembered=left)
    assert (held.sort, held.origin("sort")) == (None, "ENVWATCH_SORT")
    assert settings_of(options | {"profile": "b"}, {}, remembered=left).sort == "mode"


@pytest.mark.parametrize("typed", ["name:👩‍💻", "name:a\u00a0status:late", "\u200bweb", "name:\u202e"])
def test_a_filter_may_hold_whatever_the_filter_box_takes(tmp_path: Path, typed: str) -> None:
    assert settings(tmp_path, f"filter = '{typed}'").filter == typed
    assert settings(tmp_path, "", {"ENVWATCH_FILTER": typed}).filter == typed
    assert options_in(["--filter", typed]).filter == typed


@pytest.mark.parametrize("control", ["\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\udcff"])
def test_a_filter_with_control_characters_is_refused(tmp_path: Path, control: str) -> None:
    message = refusal(tmp_path, "", {"ENVWATCH_FILTER": f"a{control}b"})
    assert message == "ENVWATCH_FILTER must be a text of one line"
    with pytest.raises(StopError, match=r"^--filter: must be a text of one line; see "):
        options_in(["--filter", f"a{control}b"])


def test_a_profiles_key_replaces_the_key_from_outside(tmp_path: Path) -> None:
    held = settings(tmp_path, "api_key_env = 'OUTER'\n[profiles.a]\napi_key_file = '/k'", profile="a")
    assert (held.api_key_env, held.api_key_file) == (None, Path("/k"))


def test_the_demo_takes_only_its_own_settings(tmp_path: Path) -> None:
    path = config_file(tmp_path, WHOLE)
    held = settings_of({"config": str(path)}, {"ENVWATCH_USER": "me", "ENVWATCH_THEME": "nord"}, only=DEMO_SETTINGS)
    assert (held.base_url, held.api_key_env, held.filter, held.user, held.online_only) == ("", None, "", None, False)
    assert (held.theme, held.sort, held.keys["machine.explain"]) == ("nord", "version", ("x", "f5"))
    assert held.limits.online_for == Limits().online_for


@pytest.mark.parametrize("text", ["", "\ufeff", "# nothing\n", "[profiles]\n", "[keys]\n"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    assert settings(tmp_path, text).limits == Limits()


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    assert settings(tmp_path, "", {"ENVWATCH_INTERVAL": " ", "ENVWATCH_PROFILE": ""}).limits == Limits()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", ":1: Invalid value"),
        ("theme = 'x'\n\nb ! c\n", ":3: "),
        ("theme = 'x'\ntheme = 'y'\n", ":2: this key or table stands in the file twice"),
        ("theme = '''\n\n", ":1: Expected "),
        ("[profiles.a]\n[profiles.b]\n[profiles.a]\n", ":3: profiles.a stands in this file twice"),
        ("profiles = { a = {} }\n[profiles.a]\n", ":2: profiles.a stands in this file twice"),
        ("# \u2028 \u2029 \x85\nx = 1\n", ":2: x is no setting"),
        ("# a\r\n[profiles.a]\r\nx = 1\r\n", ":3: profiles.a.x is no setting"),
        (b"\xef\xbb\xbfx = 1\n", ":1: x is no setting"),
        (b"\xef\xbb\xbf\n\n# \xff\n", ":3: is not UTF-8"),
        ("bell = true\n[profile.work]\nuser = 'u'\n", ":2: profile is no setting; did you mean profiles?"),
        ("[profiles.work]\nintervall = 5\n", ":2: profiles.work.intervall is no setting; did you mean interval?"),
        ("default_profil = 'a'\n", ":1: default_profil is no setting; did you mean default_profile?"),
        ("x = 1\n", ":1: x is no setting"),
        ("interval = 5\ninterval_ = 5\n", ":2: interval_ is no setting; did you mean interval?"),
        ("interval = '601s'\n", ":1: interval must be 1s to 10m, written like 45s, 2m or a number of seconds"),
        ("interval = true\n", ":1: interval must be 1s to 10m, written like 45s, 2m or a number of seconds"),
        ("page_size = 1001\n", ":1: page_size must be a whole number from 1 to 1000"),
        ("page_size = 5.5\n", ":1: page_size must be a whole number from 1 to 1000"),
        ("online_only = 'perhaps'\n", ":1: online_only must be true or false"),
        ("bell = 1\n", ":1: bell must be true or false"),
        ("source = 'elsewhere'\n", ":1: source must be one of local, remote"),
        ("user = ''\n", ":1: user must be a text of one line"),
        (
            "filter = 'mode:'\n",
            ":1: filter cannot be used: mode needs a value; mode:none finds machines without a value",
        ),
        ("filter = 'web \"'\n", ':1: filter cannot be used: a quote is not closed: put another " after the text'),
        ("base_url = 'http://letta.example.com'\n", ":1: base_url cannot be used: the base URL must sta"),
        ("api_key_env = 'NOT A NAME'\n", ":1: api_key_env must be the name of an environment variable"),
        ("api_key_file = 5\n", ":1: api_key_file must be a text of one line"),
        ("profiles = 5\n", ":1: profiles must be a table"),
        ("\n[profiles]\nwork = 5\n", ":3: profiles.work must be a table"),
        ("[profiles.'a,b']\n", ":1: profiles.a,b is no name for a profile"),
        (
            "default_profile = 'wrok'\n[profiles.work]\n",
            ":1: default_profile names no profile of this file; did you mea",
        ),
        ("api_key_file = 'a'\napi_key_env = 'A'\n", ":1: api_key_file and api_key_env both give the key"),
        ("[commands.a]\nrun = ['x']\n", ":1: commands.a.key is missing"),
        ("[commands.a]\nkey = 'S'\n", ":1: commands.a.run is missing"),
        (
            "[commands.a]\nkey = 'S'\nrun = 'ssh'\n",
            ':3: commands.a.run must be a list of texts, a program and its arguments: ["ssh-to-env", "--quiet"]',
        ),
        (
            "[commands.a]\nkey = 'S'\nrun = []\n",
            ':3: commands.a.run must be a list of texts, a program and its arguments: ["ssh-to-env", "--quiet"]',
        ),
        ("[commands.a]\nkey = 'S'\nrun = ['x']\nkeys = 1\n", ":4: commands.a.keys is no setting; did you mean key?"),
        (
            "[commands.'a b']\nkey = 'S'\nrun = ['x']\n",
            ":1: commands.a b is no name for a command: letters, digits, and - _ . between them, 40 at most",
        ),
        ("[keys]\nmachine.explain = 5\n", ":2: keys.machine.explain must be a text, or a list of texts"),
        ("[keys]\nmachine.explain = ['x', 5]\n", ":2: keys.machine.explain must be a text, or a list of texts"),
        ("profiles = { work = { intervall = 5 } }\n", ":1: profiles.work.intervall is no setting"),
        (
            "columns = ['name', 'nmae']\n",
            f":1: columns cannot have nmae: the columns are {', '.join(COLUMNS)} and meta.KEY; did you mean name?",
        ),
        ("columns = ['name', 'sk-let-0123456789']\n", ":1: columns cannot have …: the columns are state, for, beat"),
        ("columns = ['name', 'name']\n", ":1: columns must be a list of state, for, beat, name"),
        ("columns = []\n", ":1: columns must be a list of state, for, beat, name"),
        ("a = " + "[" * 5000, ": holds a number or a nesting"),
        (b"# fine\ntheme = '\xff'\n", ":2: is not UTF-8"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    (line,) = mistakes(tmp_path, text)
    assert line.startswith(message)


def test_all_mistakes_are_reported_in_the_files_order(tmp_path: Path) -> None:
    lines = mistakes(tmp_path, "sort = 'x'\n[profiles.b]\nuser = 1\n[profiles.a]\ntheme = 2\nsource = 3\n")
    assert [line.split()[0] for line in lines] == [":1:", ":3:", ":5:", ":6:"]


@pytest.mark.parametrize("name", ["api_key", "API_KEY", "apikey", "LETTA_API_KEY", "key", "token"])
@pytest.mark.parametrize("place", ["", "[profiles.work]\n"])
def test_a_key_in_the_file_is_refused_and_not_repeated(tmp_path: Path, name: str, place: str) -> None:
    (line,) = mistakes(tmp_path, f"{place}{name} = 'sk-let-very-secret'\n")
    assert "api_key_file" in line
    assert "secret" not in line


def test_no_mistake_repeats_a_value(tmp_path: Path) -> None:
    lines = mistakes(tmp_path, "".join(f'{name} = "sk let\\tvery secret"\n' for name in Config.model_fields))
    assert len(lines) == len(Config.model_fields)
    assert "secret" not in "".join(lines)


def test_a_file_named_by_the_user_must_exist(tmp_path: Path) -> None:
    for options, environ in (({"config": "/nowhere/c.toml"}, {}), ({}, {"ENVWATCH_CONFIG": "/nowhere/c.toml"})):
        with pytest.raises(ConfigError, match=r"^/nowhere/c.toml: cannot be read: No such file or directory$"):
            settings_of(options, environ)
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory$"):
        document_at(tmp_path, must_exist=True)


@pytest.mark.parametrize("place", ["config.toml", "no folder/config.toml", "a file/config.toml"])
def test_a_file_in_the_usual_place_may_be_missing(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").touch()
    path = tmp_path / place
    assert document_at(path, must_exist=False) is None
    with pytest.raises(ConfigError) as caught:
        document_at(path, must_exist=True)
    assert caught.value.lines[0].startswith(f"{path}: cannot be read: No")


@pytest.mark.parametrize(("name", "reason"), [("loop/c.toml", "Too many levels"), ("x" * 300, "File name too long")])
def test_an_unreadable_file_is_an_error_in_any_place(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for is_wanted in (True, False):
        with pytest.raises(ConfigError) as caught:
            document_at(tmp_path / name, must_exist=is_wanted)
        (line,) = caught.value.lines
        assert f": cannot be read: {reason}" in line


def described(name: str) -> dict[str, Any]:
    properties = schema()["$defs"]["Profile"]["properties"][name]
    return {word: value for word, value in properties.items() if word not in {"title", "description"}}


def test_the_schema_has_the_bounds_of_the_readers() -> None:
    content = schema()
    assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "null" not in json.dumps(content)
    assert "pattern" in content["properties"]["profiles"]["propertyNames"]
    assert described("page_size") == {"type": "integer", "minimum": 1, "maximum": 1000}
    assert described("bell") == {"type": "boolean"}
    assert described("source") == {"type": "string", "enum": ["local", "remote"]}
    column, metadata = described("columns")["items"]["anyOf"]
    assert column["enum"] == list(COLUMNS)
    assert described("sort")["anyOf"] == [{"type": "string", "enum": ["losses", *COLUMNS]}, metadata]
    assert re.search(metadata["pattern"], "meta.team")
    assert not re.search(metadata["pattern"], "meta.")
    number, text = described("late_after")["anyOf"]
    assert number == {"type": "number", "minimum": 5, "maximum": 3600}
    assert text["type"] == "string"
    assert [written for written in ("45s", "1m30s", "2.5", "1m5") if not re.search(text["pattern"], written)] == []
    assert [written for written in ("", "s", "-1", "1 m", "2w") if re.search(text["pattern"], written)] == []


def test_whatever_can_be_set_is_described_in_the_schema() -> None:
    for name, properties in schema()["$defs"]["Profile"]["properties"].items():
        assert properties.keys() & {"type", "anyOf"}, name


def test_the_schema_has_the_help_of_each_setting() -> None:
    content = schema()
    tables = (content, *content["$defs"].values())
    assert all(each["description"] for table in tables for each in table["properties"].values())
    texts = {name: each["description"] for name, each in content["$defs"]["Profile"]["properties"].items()}
    assert texts["page_size"] == "Machines per request."
    assert texts["api_key_env"] == "Name of the environment variable with the API key."
    assert texts["serve_tokens_file"].endswith("A relative path starts at this file's folder.")


def test_several_profiles_are_taken_in_their_order_and_each_once(tmp_path: Path) -> None:
    path = config_file(tmp_path, WHOLE)
    for options, environ in (
        ({"profile": " at.home, work,at.home,"}, {"ENVWATCH_PROFILE": "wrok"}),
        ({}, {"ENVWATCH_PROFILE": "at.home,work"}),
    ):
        found = read_settings({"config": str(path)} | options, environ)
        assert [held.profile for held in found] == ["at.home", "work"]
        assert all(held.is_one_of_several for held in found)
        assert [held.limits.page_size for held in found] == [100, 50]


@pytest.mark.parametrize("named", ["", ",", " , "])
def test_an_option_without_a_profile_name_is_an_error(tmp_path: Path, named: str) -> None:
    assert refusal(tmp_path, WHOLE, {"ENVWATCH_PROFILE": "work"}, profile=named) == "--profile: a name is missing"
    assert settings(tmp_path, WHOLE, {"ENVWATCH_PROFILE": " "}).profile == "work"
    assert refusal(tmp_path, WHOLE, {"ENVWATCH_PROFILE": ","}) == "ENVWATCH_PROFILE: a name is missing"


@pytest.mark.parametrize("named", ["wrok", "work,wrok"])
def test_the_error_about_an_unknown_profile_names_the_option_or_the_variable(tmp_path: Path, named: str) -> None:
    message = f": {tmp_path}/config.toml has no profile wrok; it has work, at.home"
    assert refusal(tmp_path, WHOLE, profile=named) == f"--profile{message}"
    assert refusal(tmp_path, WHOLE, {"ENVWATCH_PROFILE": named}) == f"ENVWATCH_PROFILE{message}"


def test_a_profile_without_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--profile: there is no file "):
        settings_of({"profile": "work"}, {"HOME": str(tmp_path), "ENVWATCH_CONFIG": ""})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ENVWATCH_INTERVAL", "soon", "ENVWATCH_INTERVAL must be 1s to 10m"),
        ("ENVWATCH_INTERVALL", "5", "ENVWATCH_INTERVALL is no setting; did you mean ENVWATCH_INTERVAL?"),
        ("ENVWATCH_interval", "5", "ENVWATCH_interval is no setting; did you mean ENVWATCH_INTERVAL?"),
        ("ENVWATCH_\udcff", "5", r"ENVWATCH_\udcff is no setting"),
        ("ENVWATCH_", "5", "ENVWATCH_ is no setting"),
        ("ENVWATCH_THEME", "\udcff", "ENVWATCH_THEME must be a text of one line"),
        (
            "ENVWATCH_API_KEY",
            "sk-let-secret",
            "ENVWATCH_API_KEY is no setting: `export LETTA_API_KEY=…`",
        ),
        ("ENVWATCH_BASE_URL", "https://x.example", "ENVWATCH_BASE_URL is no setting"),
    ],
)
def test_the_error_about_a_senseless_variable_names_the_variable(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    line = refusal(tmp_path, "", {name: value})
    assert line.startswith(message)
    assert "secret" not in line


def test_all_mistakes_in_variables_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, "", {"ENVWATCH_THME": "nord", "ENVWATCH_SORT": "x", "ENVWATCH_PAGE_SIZE": "0"})
    assert [line.split()[0] for line in caught.value.lines] == [
        "ENVWATCH_THME",
        "ENVWATCH_SORT",
        "ENVWATCH_PAGE_SIZE",
    ]


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("late_after = 120", {}, ":1: late_after (2m) must be shorter than online_for (2m)"),
        ("online_for = '45s'", {}, ":1: late_after (45s) must be shorter than online_for (45s)"),
        ("page_deadline = 31", {}, ":1: page_deadline (31s) must not be longer than walk_deadline (30s)"),
    ],
)
def test_limits_must_fit_together(tmp_path: Path, text: str, environ: dict[str, str], message: str) -> None:
    assert refusal(tmp_path, text, environ).endswith(message)


def test_limits_at_their_bounds_are_taken(tmp_path: Path) -> None:
    held = settings(tmp_path, "late_after = 119.999\npage_deadline = 30")
    assert held.limits.late_after < held.limits.online_for
    assert "ENVWATCH_LATE_AFTER: late_after" in refusal(tmp_path, "", {"ENVWATCH_LATE_AFTER": "2m"})


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("45s", 45),
        ("2m", 120),
        ("1m30s", 90),
        ("1h", 3600),
        ("90", 90),
        (" 2.5 ", 2.5),
        (7, 7),
        (0.5, 0.5),
        ("1m5", 65),
        ("0d1h", 3600),
    ],
)
def test_a_duration_is_read_as_people_write_durations(written: object, seconds: float) -> None:
    assert duration(0, 3600)(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["", "s", "-1", "1 m", "2d", "nan", "inf", "1e3", None, True, [], "9" * 5000, "١s"])
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"^must be 0s to 1h, written like"):
        duration(0, 3600)(written)


@given(low=st.integers(0, 50), size=st.integers(0, 50), number=st.integers(-10, 120))
def test_bounds_are_part_of_what_is_allowed(low: int, size: int, number: int) -> None:
    def is_taken(read: Any) -> bool:
        try:
            return bool(read(str(number)) is not None)
        except ValueError:
            return False

    assert (
        is_taken(whole_number(low, low + size)) == is_taken(duration(low, low + size)) == (low <= number <= low + size)
    )


@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1, max_size=9),
        min_size=1,
        unique=True,
    )
)
def test_the_line_of_a_profile_is_found_for_every_name(tmp_path_factory: Any, names: list[str]) -> None:
    def quoted(name: str) -> str:
        escaped = "".join(f"\\U{ord(character):08x}" for character in name)
        return f'"{escaped}"'

    text = "".join(f"[profiles.{quoted(name)}]\nuser = 5\n\n" for name in names)
    lines = mistakes(tmp_path_factory.mktemp("config"), text)
    found = [int(line.split(":")[1]) for line in lines if line.endswith("user must be a text of one line")]
    assert found == [3 * number + 2 for number in range(len(names))]


def test_settings_load_neither_the_schema_without_a_file_nor_the_source_of_the_descriptions(tmp_path: Path) -> None:
    script = (
        "import linecache, os, sys; from envwatch.config.settings import read_settings; "
        "read_settings({}, os.environ); "
        "loaded = {'tomllib', 'envwatch.config.schema', 'pydantic', 'textual'} & set(sys.modules); "
        "read_settings({'config': sys.argv[1]}, os.environ); sys.exit(str(sorted(loaded) + sorted(linecache.cache)))"
    )
    path = config_file(tmp_path, 'interval = "10s"\n')
    home = {"HOME": str(tmp_path / "empty"), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, env=home, capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"


def test_an_envwatch_started_for_a_row_takes_the_rows_variables_for_no_settings() -> None:
    row = dict.fromkeys(ROW_VARIABLES, "x")
    (found,) = read_settings({}, {**row, "ENVWATCH_PROFILE": "", "ENVWATCH_INTERVAL": "7"})
    assert found.user is None
    assert found.limits.interval.total_seconds() == 7
    with pytest.raises(ConfigError, match="ENVWATCH_NAME is no setting"):
        read_settings({}, {"ENVWATCH_NAME": "x"})


def test_commands_have_their_key_variables_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        "api_key_env = 'ONE'\n[profiles.a]\napi_key_env = 'TWO'\n[commands.ssh]\nkey = 'S'\nrun = ['ssh', '-t']\n"
    )
    (found,) = read_settings({"config": str(path)}, {})
    assert found.commands["ssh"] == RowCommand(name="ssh", key="S", run=("ssh", "-t"), description="ssh")
    assert found.key_variables == {"ONE", "TWO"}
    assert found.origin("commands.ssh") == f"{path}:5"


# The tolerant reader of TOML: every syntax error, and all text between errors.

LINES = st.sampled_from(
    ["", "# a", "a = 1", "b = [1,", "2]", "[t]", "[t", "[t.u]", "c = '''", "'''", 'd = "', "e f", "= 3", "g = {h = 1,"]
)


@given(st.lists(LINES).map("\n".join) | st.text("ab=[]'\"\n #.1{}", max_size=60))
def test_a_text_has_mistakes_with_lines_exactly_if_the_text_is_no_toml(text: str) -> None:
    found, _, mistakes = parsed(text.encode())
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert mistakes
        assert all(1 <= line <= text.count("\n") + 1 and what for line, what in mistakes)
    else:
        assert (found, mistakes) == (table, [])


@pytest.mark.parametrize(
    ("text", "lines", "rest"),
    [
        ("a = \nb = 1\nc d\ne = 2\n", [1, 3], {"b": 1, "e": 2}),
        ('a = [1,\n 2,\nb = 1\n"""\nc = 2', [1, 4], {"b": 1, "c": 2}),
        ("[t\na = 1\n[u]\nb = 2\n[u]\nc = 3\n[v]\nd = 4", [1, 5], {"u": {"b": 2}, "v": {"d": 4}}),
        ("a = 1\na = 2\nb = '''\nopen", [2, 3], {"a": 1}),
    ],
)
def test_what_stands_between_mistakes_is_read(text: str, lines: list[int], rest: dict[str, object]) -> None:
    table, _, mistakes = parsed(text.encode())
    assert ([line for line, _ in mistakes], table) == (lines, rest)


def test_a_text_without_any_toml_is_given_up_after_twenty_mistakes() -> None:
    _, _, mistakes = parsed(b"a =\n" * 1000)
    assert len(mistakes) == 21
