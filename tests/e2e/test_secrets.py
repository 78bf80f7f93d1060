"""A bug or a mistake never shows the key: not on the screen, in the log, or in any file."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import programs
from support.builders import wire_rows
from support.faulty_server import says, serving
from support.pty_terminal import Terminal
from support.pty_terminal import environment as known
from support.shells import ENVWATCH, is_fresh, modes_after

from envwatch.cli.main import main
from envwatch.demo.server import Server
from envwatch.model.redactor import FRAGMENT, Redactor
from envwatch.watch.log import screen_report, whole_report

BROKEN = str(Path(__file__).parents[1] / "support" / "broken_app.py")

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"

AT_ONCE = ("client", "poller")
"""Places where the bug needs no key press."""

PLACES_AND_KEYS = {
    "client": KEY,
    "poller": "it's'a'key'with'quotes",
    "action": r"back\slash\n\x1b\\key",
    "worker": "[bold]markup[/bold][/]",
    "thread": "%s%d%(key)s%n%%percent",
    "timer": "{format}{0}{key!r}{}brace",
    "callback": "<html>&amp;\"'</html>",
    "render": "$(rm)`id`;|&>shell",
    "compose": "aaaaaaaabbbbbbbb",
    "leave": "~" * 512,
    "task": "@click=app.quit('12345678')",
}


def fragments(key: str) -> set[str]:
    return {key[at : at + FRAGMENT] for at in range(len(key) - FRAGMENT + 1)}


def traces_of(key: str, outputs: dict[str, bytes], home: Path) -> list[str]:
    """Return each piece of a key in outputs and in the files of a home."""
    places = dict(outputs)
    for path in home.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):  # the program may rename files meanwhile
            places[str(path)] = path.read_bytes()
    pieces = fragments(key)
    return [f"{each} in {place}" for place, content in places.items() for each in pieces if each.encode() in content]


def traces(key: str, terminal: Terminal, home: Path) -> list[str]:
    return traces_of(key, {"terminal": bytes(terminal.received), "screen": terminal.text.encode()}, home)


@pytest.mark.parametrize(("place", "key"), PLACES_AND_KEYS.items(), ids=PLACES_AND_KEYS)
def test_a_bug_with_the_key_in_the_error_ends_in_a_report_without_the_key(place: str, key: str, tmp_path: Path) -> None:
    log = tmp_path / "state" / "envwatch.log"
    command = [sys.executable, BROKEN, place, str(log)]
    with Terminal(command, known(tmp_path, LETTA_API_KEY=key), columns=100) as terminal:
        if place not in AT_ONCE:
            terminal.wait_for("● 3 on")
            terminal.press("t")
        code = terminal.wait_for_end()
        assert traces(key, terminal, tmp_path) == []
        assert is_fresh(modes_after(terminal.received))
        # An error in a task that is not awaited is logged, and the app goes on.
        assert code == (0 if place == "task" else 1)
        assert ("a bug with {'Authorization':" in terminal.text) == (place != "task"), terminal.text
    logged = log.read_text()
    assert re.search("a bug with {'Authorization': ['\"]Bearer …", logged)
    assert "in fail" in logged
    assert re.search(r"Traceback \(most recent call last\)", logged)


PIECES = {
    "all": f"{KEY}!",
    "first 8": KEY[:8],
    "first 12": KEY[:12],
    "last 12": KEY[-12:],
    "middle": f"…{KEY[15:30]}…",
    "twice": f"{KEY[:20]}{KEY[10:]}",
    "upper case around it": f"KEY={KEY[:12]}!",
    "marks that cleaning drops": "\ufe0f".join(KEY),
}


def _seen(number: int) -> str:
    """Return a pattern of the error in the table, where the error takes two lines next to the pane."""
    return rf"bad key[\s\S]*?seen[\s▏]+{number}\b"


@pytest.mark.slow
def test_no_piece_of_the_key_in_a_servers_error_is_on_a_screen_or_in_a_file(tmp_path: Path) -> None:
    with serving(wire_rows(3)) as faulty:

        def refuse(number: int, piece: str) -> None:
            message = json.dumps({"message": f"bad key {piece} seen {number}"})
            faulty.break_every_page(says(400, message, X_Key=KEY))

        environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url}
        refuse(0, KEY)
        with Terminal.of_envwatch(home=tmp_path, environ=environ, columns=120) as terminal:
            terminal.wait_for(_seen(0))
            for number, piece in enumerate(PIECES.values(), 1):
                refuse(number, piece)
                terminal.press("r")
                terminal.wait_for(_seen(number))
                assert traces(KEY, terminal, tmp_path) == [], piece
            terminal.press("q")
            assert terminal.wait_for_end() == 0
            assert traces(KEY, terminal, tmp_path) == []
        assert "bad key" in (tmp_path / ".local/state/envwatch/envwatch.log").read_text()
        for number, piece in enumerate(PIECES.values()):
            refuse(number, piece)
            ended = programs.run(
                [*ENVWATCH, "list", "--log-file", "list.log"], known(tmp_path, **environ), folder=tmp_path
            )
            assert (ended.returncode, b"bad key" in ended.stderr) == (3, True)
            assert traces_of(KEY, {"list": ended.stdout + ended.stderr}, tmp_path) == [], piece


MISPLACED = {
    "list --config": ("list", "--config", KEY),
    "list --config=": ("list", f"--config={KEY}"),
    "list --config, a part": ("list", "--config", KEY[:24]),
    "list --config in a path": ("list", "--config", f"/tmp/{KEY}.toml"),
    "list --log-file": ("list", "--log-file", KEY),
    "list --profile": ("list", "--profile", KEY),
    "list -o": ("list", "-o", KEY),
    "dashboard --config": ("--config", KEY),
    "dashboard --log-file": ("--log-file", KEY),
    "dashboard --log-file in a path": ("--log-file", f"/dev/null/{KEY}", "--config", "/nowhere"),
    "demo --config": ("demo", "--config", KEY),
    "config validate": ("config", "validate", "--config", KEY),
    "config show": ("config", "show", "--config", KEY),
    "config path": ("config", "path", "--config", KEY),
    "config, unknown action": ("config", KEY),
    "doctor --config": ("doctor", "--config", KEY),
    "completion": ("completion", KEY),
}


def ended_with(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run envwatch in this process; return the exit code and all output."""
    code = main([*arguments])
    return code, "".join(capfd.readouterr())


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_a_key_in_place_of_an_argument_is_not_repeated(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *, is_known: bool
) -> None:
    if is_known:
        monkeypatch.setenv("LETTA_API_KEY", KEY)
    for arguments in MISPLACED.values():
        code, said = ended_with(capfd, *arguments)
        assert (code, said[:10]) == (2, "envwatch: "), arguments
        assert traces_of(KEY, {str(arguments): said.encode()}, empty_home) == []
    other = "c2VjcmV0X2tleV9vZl9hX3NlbGZfaG9zdGVkX3NlcnZlcg0"  # of an unknown shape
    for arguments in (("list", "--config", other), ("list", "--log-file", other)):
        code, said = ended_with(capfd, *arguments)
        assert (code, "must be a path, and this looks like an API key" in said) == (2, True)
        assert traces_of(other, {str(arguments): said.encode()}, empty_home) == []
    assert list(empty_home.iterdir()) == []


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_a_key_in_place_of_a_path_in_file_or_variable_is_not_repeated(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *, is_known: bool
) -> None:
    config = empty_home / "config.toml"
    config.write_text(f'[profiles.a]\napi_key_file = "{KEY}"\n')
    for command in (("list",), ("config", "show"), ("config", "validate")):
        for wrong in (
            {"ENVWATCH_CONFIG": KEY},
            {"ENVWATCH_CONFIG": str(config), "ENVWATCH_PROFILE": "a"},
            {"SSL_CERT_FILE": KEY, "LETTA_API_KEY": KEY},
            {"HTTPS_PROXY": KEY, "LETTA_API_KEY": KEY},
        ):
            with monkeypatch.context() as patch:
                for name, value in (({"LETTA_API_KEY": KEY} if is_known else {}) | wrong).items():
                    patch.setenv(name, value)
                _, said = ended_with(capfd, *command)
            found = traces_of(KEY, {f"{command} {wrong}": said.encode()}, empty_home)
            assert [trace for trace in found if "config.toml" not in trace] == []


KEYS = (KEY, "sk-let-zyxwvutsrqponmlkjihgfedcba9876543210")


def written_to(folder: Path, suffix: str) -> list[Path]:
    return list(folder.glob(f"envwatch-*.{suffix}"))


@pytest.mark.slow
def test_under_two_profiles_neither_key_is_in_an_export_a_file_of_state_or_the_log(tmp_path: Path) -> None:
    names = ("ONE", "TWO")
    with Server(21, key=KEYS[0]) as one, Server(21, key=KEYS[1]) as two:
        profiles = zip(names, (one, two), strict=True)
        config = tmp_path / "config.toml"
        config.write_text(
            "\n".join(f'[profiles.{n}]\nbase_url = "{s.base_url}"\napi_key_env = "{n}"' for n, s in profiles)
        )
        environ = dict(zip(names, KEYS, strict=True)) | {"ENVWATCH_CONFIG": str(config), "ENVWATCH_PROFILE": "ONE,TWO"}
        with Terminal.of_envwatch("--log-level", "info", home=tmp_path, environ=environ, columns=120) as terminal:
            terminal.wait_for("^▌.*(ONE|TWO)")
            terminal.press("B", "x", "4")
            terminal.wait_for("[0-9]/[0-9]+  ")
            terminal.press("ga")
            terminal.wait_for("Acknowledge ")
            terminal.press("seen to\r")
            terminal.wait_for("1 acked")
            terminal.press("C")
            terminal.wait_for("Columns after")
            terminal.press("\r")
            terminal.wait_for_no("Columns after")
            for key, what in (("", "json"), ("c", "csv"), ("s", "svg")):
                terminal.press("\x13")
                terminal.wait_for("Export machines or screen")
                terminal.press(f"{key}\r")
                terminal.wait_until(partial(written_to, tmp_path, what), f"the {what}")
            terminal.press("?")
            terminal.wait_for("^ States ")
            terminal.press("\x1b[6~")
            terminal.wait_for("asking .* with the key from ONE; asking .* with the key from TWO")
            terminal.press("q")
            terminal.wait_for("BEAT NAME")
            two.close()
            terminal.press("r")
            terminal.wait_for("TWO: +(unreachable|network)")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
            written = {path.name.partition("-")[0] for path in tmp_path.rglob("*") if path.is_file()}
            assert written >= {"acknowledged.json", "state.json", "envwatch.log", "envwatch"}
            for key in KEYS:
                assert traces(key, terminal, tmp_path) == []
        # A key that the other server refuses, and an unreachable server.
        swapped = known(tmp_path, **environ | {"ONE": KEYS[1]})
        ended = programs.run([*ENVWATCH, "list", "--log-file", "list.log"], swapped, folder=tmp_path)
        assert ended.returncode in {3, 4}
        assert b"profile ONE: " in ended.stderr
        for key in KEYS:
            assert traces_of(key, {"list": ended.stdout + ended.stderr}, tmp_path) == []


@pytest.mark.parametrize("command", [(), ("list",)], ids=["dashboard", "list"])
def test_an_unusable_key_is_in_no_message_and_no_file(
    command: tuple[str, ...], empty_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for key in ("two words of a key", "kéy-with-äccents", "k" * 513, "line\nbreak-in-a-key", "\x1b]52;c;AAAA\x07key"):
        monkeypatch.setenv("LETTA_API_KEY", key)
        code, said = ended_with(capfd, *command)
        assert code == 2
        assert "is no API key" in said or not command
        assert traces_of(key, {key: said.encode()}, empty_home) == []


def test_a_bug_outside_the_dashboard_ends_in_a_report_without_the_key_too(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from envwatch.cli.main import main\n"
        "class Argument(str):\n"
        "    def __getitem__(self, at):\n"
        "        raise RuntimeError('a bug with ' + os.environ['LETTA_API_KEY'])\n"
        "sys.exit(main([*sys.argv[1:], Argument('x')]))"
    )
    program = tmp_path / "program.py"
    program.write_text(script)
    for arguments in (["list"], ["--log-file", "a.log"], ["demo", "--log-level", "off"]):
        ended = programs.run([sys.executable, str(program), *arguments], known(tmp_path, LETTA_API_KEY=KEY))
        assert ended.returncode == 1
        assert b"RuntimeError: a bug with \xe2\x80\xa6" in ended.stderr
        assert traces_of(KEY, {"program": ended.stdout + ended.stderr}, tmp_path) == []


# -- the redactor and the reports --------------------------------------------------------------------------------------
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=FRAGMENT, max_size=60)


@given(printable, st.lists(st.one_of(printable, st.text(), st.integers(0, 60)), max_size=8))
def test_no_eight_characters_of_a_secret_get_past_the_redactor(secret: str, parts: list[str | int]) -> None:
    redactor = Redactor()
    redactor.learn(secret)
    text = "".join(secret[part:] + secret[:part] if isinstance(part, int) else part for part in parts)
    for redacted in (redactor(text), *redactor.lines(text)):
        assert not any(fragment in redacted for fragment in fragments(secret))


@given(st.text())
def test_a_redactor_without_secrets_changes_nothing(text: str) -> None:
    assert Redactor()(text) == text


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("x bcdefgh y", "x bcdefgh y"),
        ("x bcdefghi y", "x … y"),
        ("abcdefghijklabcdefgh", "…"),
        ("abcdefghi-cdefghij", "…-…"),
        # What begins like a key is hidden, though not known; what only resembles one is shown.
        *((f"/tmp/{key}.toml: no such file", "/tmp/….toml: no such file") for key in (KEY, KEY[:24])),
        ("sk-proj-0123456789_abcdef", "…"),
        ("sk-let-abcdefghijklmnop", "…"),
        *(
            (text, text)
            for text in ("task-runner-frankfurt-0123", "disk-0123456789zyxwvuts", "sk-frankfurt-1", "sk-", "")
        ),
    ],
)
def test_eight_characters_of_a_secret_are_hidden_and_seven_are_shown(text: str, redacted: str) -> None:
    redactor = Redactor()
    redactor.learn("abcdefghijkl")
    assert redactor(text) == redacted


def caught(depth: int) -> BaseException:
    secret_local = "local-" + "variable"
    error = caught(depth - 1) if depth else ValueError("\x1b[2Jfrom afar\nin two lines")
    try:
        raise error
    except ValueError as raised:
        return raised if secret_local else error


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 50), (40, 8), (10, 3), (1, 1)])
def test_the_report_fits_on_the_screen_and_ends_with_the_log(columns: int, lines: int) -> None:
    where = "The whole traceback is in /var/log/envwatch.log"
    report = screen_report(caught(40), Redactor(), where, columns=columns, lines=lines)
    assert max(map(len, report)) <= columns
    assert len(report) < lines or lines < 10
    assert "".join(report).endswith(where)
    assert not any("\x1b" in line or "local-variable" in line for line in report)


def test_the_log_gets_the_whole_chain_and_no_local_variable() -> None:
    lines = whole_report(caught(3), Redactor())
    assert sum("ValueError" in line for line in lines) >= 1
    assert "\\x1b[2Jfrom afar" in "\n".join(lines)
    assert "local-variable" not in "\n".join(lines)
