"""Where the key comes from: the order of the sources, every state of the Letta CLI's file, and what is never said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import NOW
from hypothesis import given
from hypothesis import strategies as st

from envwatch.key import Access, AccessError, access_of

KEY = "sk-let-from-the-environment"
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


def access(environ: dict[str, str], settings: Path = NO_FILE) -> Access:
    return access_of(environ, now=NOW, settings=settings)


def refusal(environ: dict[str, str], settings: Path = NO_FILE) -> str:
    with pytest.raises(AccessError) as caught:
        access(environ, settings)
    told = str(caught.value)
    assert "\n" not in told
    return told


def test_the_environment_comes_before_the_login(tmp_path: Path) -> None:
    found = access({"LETTA_API_KEY": KEY}, letta_file(tmp_path, login()))
    assert found.key.get_secret_value() == KEY
    assert found.origin == "LETTA_API_KEY"


def test_the_login_is_used_without_a_key_in_the_environment(tmp_path: Path) -> None:
    path = letta_file(tmp_path, login())
    found = access({}, path)
    assert found.key.get_secret_value() == LOGIN_KEY
    assert found.origin == str(path)


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_variable_is_no_key(tmp_path: Path, blank: str) -> None:
    assert access({"LETTA_API_KEY": blank}, letta_file(tmp_path, login())).key.get_secret_value() == LOGIN_KEY


def test_without_any_key_the_line_says_where_to_get_one() -> None:
    told = refusal({})
    assert "https://app.letta.com/api-keys" in told
    assert "export LETTA_API_KEY=" in told


def test_a_home_that_nobody_knows_is_no_login() -> None:
    assert "no API key" in refusal({}, Path("~nobody-of-this-name/.letta/settings.json"))


def test_blanks_around_a_key_are_cut_off(tmp_path: Path) -> None:
    assert access({"LETTA_API_KEY": f" {KEY}\n"}).key.get_secret_value() == KEY
    padded = login(env={"LETTA_API_KEY": f" {LOGIN_KEY}\n"})
    assert access({}, letta_file(tmp_path, padded)).key.get_secret_value() == LOGIN_KEY


@pytest.mark.parametrize("length", [8, 512])
def test_a_key_of_usual_length_is_taken(length: int) -> None:
    assert access({"LETTA_API_KEY": "k" * length}).key.get_secret_value() == "k" * length


@pytest.mark.parametrize(
    "bad", ["k" * 7, "k" * 513, "two words", "sk-let-é1234567", "sk-let-\x1b[31mred", "sk-let\x00nul"]
)
def test_what_cannot_be_a_key_is_refused_without_repeating_it(tmp_path: Path, bad: str) -> None:
    in_environment = refusal({"LETTA_API_KEY": bad})
    assert "LETTA_API_KEY is no API key" in in_environment
    in_login = refusal({}, letta_file(tmp_path, login(env={"LETTA_API_KEY": bad})))
    assert "settings.json is no API key" in in_login
    assert bad not in in_environment + in_login


@given(rest=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=505))
def test_nothing_that_is_printed_of_an_access_shows_the_key(rest: str) -> None:
    found = access({"LETTA_API_KEY": f"sk-let-{rest}"})
    assert found.key.get_secret_value() == f"sk-let-{rest}"
    assert "sk-let-" not in f"{found!r} {found} {found.key!r} {found.key}"


def test_the_server_is_lettas_unless_named() -> None:
    assert access({"LETTA_API_KEY": KEY}).base_url == "https://api.letta.com"
    assert access({"LETTA_API_KEY": KEY, "LETTA_BASE_URL": " "}).base_url == "https://api.letta.com"


def test_the_variable_names_the_server_for_a_key_from_either_source(tmp_path: Path) -> None:
    named = {"LETTA_BASE_URL": "https://named.example.com/"}
    assert access({"LETTA_API_KEY": KEY} | named).base_url == "https://named.example.com"
    assert access(named, letta_file(tmp_path, login())).base_url == "https://named.example.com"


def test_the_logins_server_is_for_the_logins_key_alone(tmp_path: Path) -> None:
    path = letta_file(tmp_path, login())
    assert access({}, path).base_url == LOGIN_URL
    assert access({"LETTA_API_KEY": KEY}, path).base_url == "https://api.letta.com"


@pytest.mark.parametrize("url", ["http://api.letta.com", "ftp://api.letta.com", "https://user:word@host", "nonsense"])
def test_a_server_that_cannot_be_trusted_with_the_key_is_refused_by_the_name_of_its_source(
    tmp_path: Path, url: str
) -> None:
    assert refusal({"LETTA_API_KEY": KEY, "LETTA_BASE_URL": url}).endswith("(see LETTA_BASE_URL)")
    path = letta_file(tmp_path, login(env={"LETTA_API_KEY": LOGIN_KEY, "LETTA_BASE_URL": url}))
    assert refusal({}, path).endswith(f"(see {path})")


def test_http_to_this_machine_is_allowed() -> None:
    local = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": "http://127.0.0.1:8283"}
    assert access(local).base_url == "http://127.0.0.1:8283"


@pytest.mark.parametrize("expires_at", [NOW, NOW - 1, 0])
def test_an_expired_login_is_told_with_the_way_out(tmp_path: Path, expires_at: float) -> None:
    told = refusal({}, letta_file(tmp_path, login(tokenExpiresAt=expires_at)))
    assert "has expired: run `letta` to log in again" in told


@pytest.mark.parametrize("expires_at", [NOW + 1, None, "tomorrow"])
def test_a_login_that_has_not_expired_is_used(tmp_path: Path, expires_at: Any) -> None:
    path = letta_file(tmp_path, login(tokenExpiresAt=expires_at))
    assert access({}, path).key.get_secret_value() == LOGIN_KEY


def test_every_half_written_state_of_the_login_is_one_line_without_a_secret(tmp_path: Path) -> None:
    whole = json.dumps(login()).encode()
    for length in range(len(whole)):
        told = refusal({}, letta_file(tmp_path, whole[:length]))
        assert "half-written or damaged: try again" in told
        assert "sk-let" not in told
        assert "rt-very" not in told


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
def test_a_file_without_a_login_is_no_source(tmp_path: Path, content: Any) -> None:
    assert "no API key" in refusal({}, letta_file(tmp_path, content))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00", b"[" * 100_000, b"{" * 10])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    assert "half-written or damaged" in refusal({}, letta_file(tmp_path, content))


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in refusal({}, tmp_path)


def test_reading_the_login_changes_nothing(tmp_path: Path) -> None:
    path = letta_file(tmp_path, login())
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
    access({}, path)
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before
    assert list(tmp_path.iterdir()) == [path]
