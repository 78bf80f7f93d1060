"""The key search: order of candidates, every state of the CLI's login file, no key in any message."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import programs
from support.builders import NOW
from support.programs import TIMEOUT_S
from support.pty_terminal import Terminal, environment

from envwatch.config.credentials import Credentials, CredentialsError, read_credentials, unchosen_profiles
from envwatch.config.settings import Settings, read_settings
from envwatch.demo.server import Server
from envwatch.model.redactor import Secret
from envwatch.model.text import clean
from envwatch.watch.clients import renewed_key

KEY = "sk-let-from-the-environment"
OTHER_KEY = "sk-let-of-another-time"
LOGIN_KEY = "sk-let-from-the-login"
LOGIN_URL = "https://login.example.com"
NO_FILE = Path("/nowhere/settings.json")


def letta_file(folder: Path, content: Any) -> Path:
    path = folder / "settings.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def login(**changes: Any) -> dict[str, Any]:
    variables = {"LETTA_API_KEY": LOGIN_KEY, "LETTA_BASE_URL": LOGIN_URL}
    return {"env": variables, "tokenExpiresAt": NOW + 1, "refreshToken": "rt-very-secret"} | changes


def credentials(environ: dict[str, str], login_file: Path = NO_FILE) -> Credentials:
    return read_credentials(Settings(), environ, now_ms=NOW, login_file=login_file)


def refusal(environ: dict[str, str], login_file: Path = NO_FILE) -> str:
    with pytest.raises(CredentialsError) as caught:
        credentials(environ, login_file)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_environment_comes_before_the_login(tmp_path: Path) -> None:
    path = letta_file(tmp_path, login())
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
    found = credentials({"LETTA_API_KEY": KEY}, path)
    assert (found.key.get_secret_value(), found.origin) == (KEY, "LETTA_API_KEY")
    for environ in ({}, {"LETTA_API_KEY": ""}, {"LETTA_API_KEY": "  "}, {"LETTA_API_KEY": "\n"}):
        found = credentials(environ, path)
        assert (found.key.get_secret_value(), found.origin) == (LOGIN_KEY, str(path))
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("login_file", [NO_FILE, Path("~no-such-user/.letta/settings.json")])
def test_without_any_key_the_line_says_where_to_get_one(login_file: Path) -> None:
    message = refusal({}, login_file)
    assert "no API key" in message
    assert "https://chat.letta.com/preferences/api-keys" in message
    assert "export LETTA_API_KEY=" in message


@pytest.mark.parametrize("key", ["k" * 8, "k" * 512, f" {KEY}\n"])
def test_a_key_of_usual_length_is_taken_without_blanks_at_its_ends(tmp_path: Path, key: str) -> None:
    assert credentials({"LETTA_API_KEY": key}).key.get_secret_value() == key.strip()
    padded = letta_file(tmp_path, login(env={"LETTA_API_KEY": key}))
    assert credentials({}, padded).key.get_secret_value() == key.strip()


@pytest.mark.parametrize(
    "bad", ["k" * 7, "k" * 513, "two words", "sk-let-é1234567", "sk-let-\x1b[31mred", "sk-let\x00nul"]
)
def test_a_text_of_another_form_is_refused_as_a_key_and_not_repeated(tmp_path: Path, bad: str) -> None:
    in_environment = refusal({"LETTA_API_KEY": bad})
    assert "LETTA_API_KEY is no API key" in in_environment
    in_login = refusal({}, letta_file(tmp_path, login(env={"LETTA_API_KEY": bad})))
    assert "settings.json is no API key" in in_login
    assert bad not in in_environment + in_login


@given(rest=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=505))
def test_no_text_form_of_credentials_shows_the_key(rest: str) -> None:
    found = credentials({"LETTA_API_KEY": f"sk-let-{rest}"})
    assert found.key.get_secret_value() == f"sk-let-{rest}"
    assert "sk-let-" not in f"{found!r} {found} {found.key!r} {found.key}"
    assert found.key == Secret(f"sk-let-{rest}") != Secret(LOGIN_KEY)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"LETTA_API_KEY": KEY}, "https://api.letta.com"),
        ({"LETTA_API_KEY": KEY, "LETTA_BASE_URL": " "}, "https://api.letta.com"),
        ({"LETTA_API_KEY": KEY, "LETTA_BASE_URL": "https://named.example.com/"}, "https://named.example.com"),
        ({"LETTA_API_KEY": KEY, "LETTA_BASE_URL": "http://127.0.0.1:8283"}, "http://127.0.0.1:8283"),
        ({"LETTA_BASE_URL": "https://named.example.com/"}, "https://named.example.com"),
        ({}, LOGIN_URL),
    ],
)
def test_the_variable_names_the_server_of_every_key_and_the_login_of_its_own_key_only(
    tmp_path: Path, environ: dict[str, str], url: str
) -> None:
    assert credentials(environ, letta_file(tmp_path, login())).base_url == url


@pytest.mark.parametrize("url", ["http://api.letta.com", "https://user:word@host"])
def test_an_untrusted_server_is_refused_with_the_name_of_its_source(tmp_path: Path, url: str) -> None:
    assert refusal({"LETTA_API_KEY": KEY, "LETTA_BASE_URL": url}).endswith("(see LETTA_BASE_URL)")
    path = letta_file(tmp_path, login(env={"LETTA_API_KEY": LOGIN_KEY, "LETTA_BASE_URL": url}))
    assert refusal({}, path).endswith(f"(see {path})")


@pytest.mark.parametrize("expires_at", [NOW, NOW - 1, 0])
def test_an_expired_login_is_an_error_with_the_remedy(tmp_path: Path, expires_at: float) -> None:
    message = refusal({}, letta_file(tmp_path, login(tokenExpiresAt=expires_at)))
    assert "has expired: run `letta` to log in again" in message


@pytest.mark.parametrize("expires_at", [NOW + 1, None, "tomorrow"])
def test_a_login_before_its_end_is_used(tmp_path: Path, expires_at: Any) -> None:
    path = letta_file(tmp_path, login(tokenExpiresAt=expires_at))
    assert credentials({}, path).key.get_secret_value() == LOGIN_KEY


def test_every_half_written_state_of_the_login_is_one_line_without_a_secret(tmp_path: Path) -> None:
    whole = json.dumps(login()).encode()
    for length in range(len(whole)):
        message = refusal({}, letta_file(tmp_path, whole[:length]))
        assert "half-written or damaged: try again" in message
        assert "sk-let" not in message
        assert "rt-very" not in message


@pytest.mark.parametrize(
    "content",
    [
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        {"env": None},
        {"env": []},
        {"env": {}},
        {"env": {"LETTA_API_KEY": None}},
        {"env": {"LETTA_API_KEY": 5}},
        {"env": {"LETTA_API_KEY": "  "}},
        {"tokenExpiresAt": 0},
    ],
)
def test_a_file_without_a_login_is_skipped(tmp_path: Path, content: Any) -> None:
    assert "no API key" in refusal({}, letta_file(tmp_path, content))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00", b"[" * 100_000, b"{" * 10])
def test_a_damaged_login_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    assert "half-written or damaged" in refusal({}, letta_file(tmp_path, content))


def test_an_unreadable_login_file_is_an_error_with_the_reason(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in refusal({}, tmp_path)


def key_file(folder: Path, content: bytes = KEY.encode(), mode: int = 0o600) -> Path:
    path = folder / "key file"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def found(settings: Settings, environ: dict[str, str] | None = None, login_file: Path = NO_FILE) -> Credentials:
    return read_credentials(settings, environ or {}, now_ms=NOW, login_file=login_file)


def profile_refusal(settings: Settings, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(CredentialsError) as caught:
        found(settings, environ)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_the_profiles_variable_comes_after_lettas_own_and_before_the_login(tmp_path: Path) -> None:
    settings, path = Settings(api_key_env="WORK_KEY"), letta_file(tmp_path, login())
    both = {"WORK_KEY": "sk-let-from-work", "LETTA_API_KEY": KEY}
    assert found(settings, both, path).origin == "LETTA_API_KEY"
    work = found(settings, {"WORK_KEY": " sk-let-from-work\n"}, path)
    assert (work.origin, work.key.get_secret_value()) == ("WORK_KEY", "sk-let-from-work")


@pytest.mark.parametrize("environ", [{}, {"WORK_KEY": ""}, {"WORK_KEY": " "}])
def test_the_error_about_a_missing_profile_variable_names_the_variable(environ: dict[str, str]) -> None:
    message = profile_refusal(Settings(profile="work", api_key_env="WORK_KEY"), environ)
    assert message == "no API key: `export WORK_KEY=…`, the variable of profile work"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_key_file_is_taken(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, f" {KEY}\n".encode(), mode)
    credentials = found(Settings(api_key_file=path))
    assert (credentials.key.get_secret_value(), credentials.origin) == (KEY, str(path))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_key_file_open_to_others_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, mode=mode)
    assert profile_refusal(Settings(api_key_file=path)).endswith(f"`chmod 600 '{path}'`")


def test_a_key_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    if os.geteuid() == 0:
        os.chown(path, 12_345, -1)
    else:
        path = Path("/etc/passwd")
    assert "belongs to another user" in profile_refusal(Settings(api_key_file=path))


def test_the_mode_of_a_linked_key_file_counts_and_not_the_links(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(key_file(tmp_path, mode=0o644))
    assert "chmod 600" in profile_refusal(Settings(api_key_file=link))
    key_file(tmp_path)
    assert found(Settings(api_key_file=link)).key.get_secret_value() == KEY


def test_anything_else_than_a_key_file_is_an_error_with_the_reason(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert profile_refusal(Settings(api_key_file=pipe)).endswith("cannot be read: Not a regular file")
    assert profile_refusal(Settings(api_key_file=tmp_path)).endswith("cannot be read: Is a directory")
    assert "No such file" in profile_refusal(Settings(api_key_file=tmp_path / "missing"))
    assert profile_refusal(Settings(api_key_file=key_file(tmp_path, b" \n"))).endswith("is empty")
    assert "is no API key" in profile_refusal(Settings(api_key_file=key_file(tmp_path, b"\xff\xfe\x00bin\xe4ry\x00")))
    assert "is no API key" in profile_refusal(Settings(api_key_file=key_file(tmp_path, b"k" * 5000)))


def test_the_profiles_server_is_for_every_key_after_the_variable(tmp_path: Path) -> None:
    settings = Settings(base_url="https://profile.example.com", origins={"base_url": clean("config.toml:3")})
    path = letta_file(tmp_path, login())
    assert found(settings, {"LETTA_API_KEY": KEY}).base_url == "https://profile.example.com"
    credentials = found(settings, {}, path)
    assert (credentials.base_url, credentials.base_url_origin) == ("https://profile.example.com", "config.toml:3")
    named = found(settings, {"LETTA_BASE_URL": "https://named.example.com"}, path)
    assert (named.base_url, named.base_url_origin) == ("https://named.example.com", "LETTA_BASE_URL")
    bad = Settings(base_url="http://profile.example.com", origins={"base_url": clean("config.toml:3")})
    assert profile_refusal(bad, {"LETTA_API_KEY": KEY}).endswith("(see config.toml:3)")


OWN_KEY, OWN_URL = "sk-let-of-the-profile", "https://profile.example.com"
AMBIENT = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": "https://ambient.example.com"}
LETTA = "https://api.letta.com"
BY_OPTION = {"profile": clean("--profile")}


def both(is_by_option: bool, own: str, ambient: str) -> tuple[str, str]:  # noqa: FBT001 - a table reads best so
    """Return destination and key if profile and variables have a key, an address, or both."""
    names = {"key": "api_key_env", "url": "base_url"}
    settings = Settings(
        api_key_env="WORK_KEY" if "key" in own else None,
        base_url=OWN_URL if "url" in own else "",
        own=frozenset(names[word] for word in own.split()),
        origins=BY_OPTION if is_by_option else {},
    )
    kept = {"key": "LETTA_API_KEY", "url": "LETTA_BASE_URL"}
    environ = {kept[word]: AMBIENT[kept[word]] for word in ambient.split()}
    credentials = found(settings, environ | {"WORK_KEY": OWN_KEY})
    return credentials.key.get_secret_value(), credentials.base_url


AMBIENT_URL = AMBIENT["LETTA_BASE_URL"]


@pytest.mark.parametrize(
    ("own", "ambient", "by_option", "otherwise"),
    [
        ("key url", "key url", (OWN_KEY, OWN_URL), (KEY, OWN_URL)),
        ("key url", "key", (OWN_KEY, OWN_URL), (KEY, OWN_URL)),
        ("key url", "url", (OWN_KEY, OWN_URL), (OWN_KEY, OWN_URL)),
        ("key", "key url", (OWN_KEY, LETTA), (KEY, AMBIENT_URL)),
        ("key", "url", (OWN_KEY, LETTA), (OWN_KEY, LETTA)),
        ("url", "key url", (KEY, OWN_URL), (KEY, OWN_URL)),
        ("", "key url", (KEY, AMBIENT_URL), (KEY, AMBIENT_URL)),
    ],
)
def test_a_profile_named_by_the_option_goes_before_the_variables_and_another_profile_after_them(
    own: str, ambient: str, by_option: tuple[str, str], otherwise: tuple[str, str]
) -> None:
    """The variables' address never gets the profile's key."""
    assert both(True, own, ambient) == by_option
    assert both(False, own, ambient) == otherwise


@pytest.mark.parametrize("is_by_option", [True, False])
def test_a_key_for_all_profiles_comes_after_the_variable_and_goes_to_its_address(is_by_option: bool) -> None:  # noqa: FBT001 - as pytest gives it
    settings = Settings(api_key_env="WORK_KEY", origins=BY_OPTION if is_by_option else {})
    assert found(settings, AMBIENT | {"WORK_KEY": OWN_KEY}).origin == "LETTA_API_KEY"
    named = {"LETTA_BASE_URL": AMBIENT["LETTA_BASE_URL"], "WORK_KEY": OWN_KEY}
    assert found(settings, named).base_url == AMBIENT["LETTA_BASE_URL"]


def test_a_profile_with_lettas_own_variable_has_the_address_of_the_variables() -> None:
    settings = Settings(api_key_env="LETTA_API_KEY", own=frozenset({"api_key_env"}), origins=BY_OPTION)
    assert found(settings, AMBIENT).base_url == AMBIENT["LETTA_BASE_URL"]


def test_the_person_is_asked_only_if_no_other_candidate_has_a_key(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer() -> str:
        asked.append("once")
        return f" {KEY} "

    path = letta_file(tmp_path, login())
    assert (
        read_credentials(Settings(), {"LETTA_API_KEY": KEY}, now_ms=NOW, login_file=NO_FILE, ask=answer).origin
        == "LETTA_API_KEY"
    )
    assert read_credentials(Settings(), {}, now_ms=NOW, login_file=path, ask=answer).origin == str(path)
    assert asked == []
    typed = read_credentials(Settings(), {}, now_ms=NOW, login_file=NO_FILE, ask=answer)
    assert (typed.key.get_secret_value(), typed.origin, asked) == (KEY, "the terminal", ["once"])


@pytest.mark.parametrize(("answer", "code"), [("\r", 2), ("\x04", 2), ("\x03", 130)])
def test_without_a_typed_key_the_program_ends_with_one_line_and_an_exit_code(
    tmp_path: Path, answer: str, code: int
) -> None:
    with Terminal.of_envwatch(home=tmp_path) as terminal:
        terminal.wait_for("not shown")
        terminal.press(answer)
        with suppress(subprocess.TimeoutExpired):  # Python may lose a ctrl+c right before the read; people press again
            terminal.wait_for_end(within=TIMEOUT_S / 4)
        if terminal.process.poll() is None:
            terminal.press(answer)
        assert terminal.wait_for_end() == code
        assert "envwatch: no API key" in terminal.text
        assert b"\x1b" not in terminal.received


def test_the_prompt_explains_and_asks_again_until_the_server_takes_the_key(tmp_path: Path) -> None:
    with Server(3, key=KEY, now=lambda: int(NOW)) as server:
        environ = {"LETTA_BASE_URL": server.base_url}
        with Terminal.of_envwatch(home=tmp_path, environ=environ) as terminal:
            terminal.wait_for("not shown")
            for word in ("api-keys", "LETTA_API_KEY", "`letta`", "config init", "`envwatch demo` needs none"):
                assert word in terminal.text
            terminal.press("short\r")
            terminal.wait_for(r"no API key: a key has 8 to 512[^\0]*\n.*not shown")
            terminal.press(f"{OTHER_KEY}\r")
            terminal.wait_for(r"401[^\0]*\n.*not shown")
            terminal.press(f"{KEY}\r")
            terminal.wait_for("[0-9] on")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
        assert KEY.encode() not in terminal.received
        assert OTHER_KEY.encode() not in terminal.received


def test_after_three_refused_keys_the_program_ends_with_one_line(tmp_path: Path) -> None:
    with Server(3, key=KEY, now=lambda: int(NOW)) as server:
        environ = {"LETTA_BASE_URL": server.base_url}
        with Terminal.of_envwatch(home=tmp_path, environ=environ, lines=50) as terminal:
            for refused in range(3):
                terminal.wait_until(lambda: terminal.text.count("not shown") == refused + 1)  # noqa: B023
                terminal.press(f"{OTHER_KEY}\r")
            assert terminal.wait_for_end() == 4
            assert len(re.findall(r"\b401\b", terminal.text)) == 3
            assert b"\x1b" not in terminal.received


def settings_in(folder: Path, text: str, **options: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    (settings,) = read_settings({"config": str(path), **options}, {})
    return settings


def test_the_profiles_are_named_with_the_ways_to_choose_one(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, '[profiles.work]\napi_key_env = "W"\n[profiles.home]\napi_key_env = "H"')
    refusals = set()
    for environ in ({}, AMBIENT):
        with pytest.raises(CredentialsError) as caught:
            found(settings, environ)
        refusals.add(str(caught.value))
    (line,) = refusals
    assert f"no profile is chosen, and {tmp_path}/config.toml has work, home: choose with --profile work, " in line
    assert "\n" not in line
    assert "API key" not in line
    assert unchosen_profiles(settings_in(tmp_path, 'default_profile = "work"\n[profiles.work]')) is None
    assert unchosen_profiles(settings_in(tmp_path, "[profiles.default]")) is None
    assert unchosen_profiles(settings_in(tmp_path, "bell = true")) is None


def test_a_renewed_key_is_found_but_only_for_the_same_server(tmp_path: Path) -> None:
    path = tmp_path / "work.key"
    path.touch(0o600)
    path.write_text(KEY)
    text = '[profiles.work]\napi_key_file = "work.key"\nbase_url = "https://{}"\n'
    one, other = (settings_in(tmp_path, text.format(host), profile="work") for host in ("one.example", "two.example"))
    credentials = found(one, {})
    assert renewed_key(credentials, one).get_secret_value() == KEY
    path.write_text(OTHER_KEY)
    assert renewed_key(credentials, one).get_secret_value() == OTHER_KEY
    assert renewed_key(credentials, other).get_secret_value() == KEY
    path.unlink()
    assert renewed_key(credentials, one).get_secret_value() == KEY


def test_only_a_key_in_a_variable_or_of_a_person_needs_a_restart(tmp_path: Path) -> None:
    key_file = tmp_path / "work.key"
    key_file.touch(0o600)
    key_file.write_text(KEY)
    in_file = settings_in(tmp_path, '[profiles.work]\napi_key_file = "work.key"', profile="work")
    assert found(in_file, {}).new_by == ""
    assert credentials({}, letta_file(tmp_path, login())).new_by == ""
    assert credentials({"LETTA_API_KEY": KEY}).new_by == "set LETTA_API_KEY"
    in_variable = settings_in(tmp_path, '[profiles.work]\napi_key_env = "WORK_KEY"', profile="work")
    assert found(in_variable, {"WORK_KEY": KEY}).new_by == "set WORK_KEY"
    typed = read_credentials(Settings(), {}, now_ms=NOW, login_file=NO_FILE, ask=lambda: KEY)
    assert typed.new_by == "have a new key ready"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_during_the_prompt_restores_the_echo(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with Terminal.of_envwatch(home=tmp_path) as terminal:
        terminal.wait_for("not shown")
        assert not terminal.echoes
        terminal.send_signal(number)
        assert terminal.wait_for_end() == code
        assert terminal.echoes


def test_a_listing_never_prompts_nor_the_dashboard_where_no_profile_is_chosen(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[profiles.work]\napi_key_env = "W"\n[profiles.home]\napi_key_env = "H"')
    for arguments, message in ((("list",), "no API key"), (("--config", str(config)), "has work, home: choose with")):
        with Terminal.of_envwatch(*arguments, home=tmp_path, columns=200) as terminal:
            assert terminal.wait_for_end() == 2
            assert message in terminal.text
            assert "API key (" not in terminal.text


# The system's keyring: the package `keyring` as programs find it, with a test backend.

KEYRING = """
import os
class Backend:
    def get_password(self, service, user):
        if os.environ.get("KEYRING_BREAKS"):
            raise OSError("locked: sk-let-from-the-error")
        return {kept!r}.get((service, user))
def get_password(service, user):
    return Backend().get_password(service, user)
"""

ASK = (
    "import os, sys; from pathlib import Path; sys.path.insert(0, str(Path(__file__).parent / 'packages'))\n"
    "from envwatch.config.credentials import *\n"
    "from envwatch.config.settings import Settings\n"
    "settings = Settings(profile=sys.argv[1])\n"
    "try: credentials = read_credentials(settings, os.environ, now_ms=0, login_file=Path('/nowhere'))\n"
    "except CredentialsError as error: print(error)\n"
    "else: print(credentials.key.get_secret_value(), credentials.origin)\n"
)


def found_with_keyring(folder: Path, code: str, profile: str = "default", **environ: str) -> str:
    package = folder / "packages" / "keyring"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(code)
    script = folder / "ask.py"
    script.write_text(ASK)
    done = programs.run([sys.executable, str(script), profile], environment(folder, **environ))
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


SEVERAL = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": "https://elsewhere.example.com", "OWN_KEY": "sk-let-its-very-own"}


def test_of_several_profiles_each_has_its_own_key_and_address_or_none(tmp_path: Path) -> None:
    path = letta_file(tmp_path, login())
    own = Settings(profile="work", api_key_env="OWN_KEY", base_url="https://work.example.com", is_one_of_several=True)
    found = read_credentials(own, SEVERAL, now_ms=NOW, login_file=path)
    assert found.key.get_secret_value() == "sk-let-its-very-own"
    assert found.base_url == "https://work.example.com"
    none = Settings(profile="work", base_url="https://work.example.com", is_one_of_several=True)
    with pytest.raises(
        CredentialsError, match="profile work names no key: of several profiles, each needs an api_key_env"
    ):
        read_credentials(none, SEVERAL, now_ms=NOW, login_file=path, ask=lambda: KEY)
    alone = Settings(profile="work", api_key_env="OWN_KEY", base_url="https://work.example.com")
    assert read_credentials(alone, SEVERAL, now_ms=NOW, login_file=path).key.get_secret_value() == KEY


def test_the_keyring_is_read_for_the_profile_and_then_for_the_user(tmp_path: Path) -> None:
    code = KEYRING.format(kept={("letta", "api-key"): "sk-let-usual", ("letta", "work"): "sk-let-work\n"})
    assert found_with_keyring(tmp_path, code) == "sk-let-usual the system's keyring (letta, api-key)"
    assert found_with_keyring(tmp_path, code, "work") == "sk-let-work the system's keyring (letta, work)"
    assert found_with_keyring(tmp_path, code, "home") == "sk-let-usual the system's keyring (letta, api-key)"
    assert found_with_keyring(tmp_path, code, LETTA_API_KEY=KEY) == f"{KEY} LETTA_API_KEY"


@pytest.mark.parametrize(
    ("code", "environ"),
    [
        *((code, {}) for code in ("raise RuntimeError('no backend')", "get_password = None", "syntax error", "")),
        (KEYRING.format(kept={("letta", "api-key"): "sk-let-usual"}), {"KEYRING_BREAKS": "1"}),
    ],
    ids=["raises", "empty name", "syntax error", "empty", "locked"],
)
def test_a_failing_keyring_counts_as_absent(tmp_path: Path, code: str, environ: dict[str, str]) -> None:
    assert found_with_keyring(tmp_path, code, **environ).startswith("no API key: make one")
