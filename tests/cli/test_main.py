"""The program before and around its commands: imports, mistakes before the screen is taken, the demo."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest
from support import programs
from support.builders import NOW, wire_rows
from support.faulty_server import KEY, serving
from support.lives import plain_life
from support.pty_terminal import Terminal, environment, without_settings

from envwatch.cli.arguments import COMMANDS
from envwatch.cli.main import ON_WINDOWS
from envwatch.history.past import About
from envwatch.history.recording import RecordingWriter
from envwatch.model.text import clean

if TYPE_CHECKING:
    from pathlib import Path

ENVWATCH: Final = (sys.executable, "-m", "envwatch")

# Imports: each command with the modules that a process with this command may not load.

SLOW: Final = ["textual", "rich", "httpx", "pydantic", "asyncio", "dataclasses", "subprocess", "hashlib"]
SCREEN: Final = ["textual", "rich", "pygments", "humanize", "click"]

IMPORTS: Final = """
import json, os, sys
from envwatch.cli.main import main
for config, arguments, unwanted, code in json.load(open(sys.argv[1])):
    os.environ["ENVWATCH_CONFIG"] = config
    try: found = main(arguments)
    except SystemExit as end: found = end.code
    loaded = sorted(set(unwanted) & set(sys.modules))
    if found != code or loaded: sys.exit(f"{arguments}: exit code {found}, {loaded}")
"""


def test_no_command_without_a_screen_loads_an_unneeded_library(tmp_path: Path) -> None:
    """One process runs the commands from the lightest to the heaviest."""
    config, recording = tmp_path / "config.toml", tmp_path / "a.rec"
    config.write_text(
        'theme = "nord"\n[keys]\nmachine.explain = "z"\n[[hooks]]\ncommand = ["true"]\n'
        "[profiles.default]\n[profiles.acme]\n"
    )
    about = About(profile=clean("prod"), base_url=clean("https://api.letta.com"), version=clean("1.0"))
    with closing(RecordingWriter(recording, about)) as writer:
        for moment, result, events in plain_life(NOW).steps:
            writer.write(moment, result, events)
    plain: list[tuple[list[str], list[str], int]] = [
        *(([*arguments], SLOW, 0) for arguments in (("--help",), ("list", "--help"), ("--version",))),
        (["dashboard", "--help"], SLOW, 0),
        (["--no-such"], SLOW, 2),
        (["completion", "bash"], SLOW[:4], 0),
        (["replay", str(recording), "-o", "jsonl"], [*SCREEN[:3], "click", "httpx"], 0),
    ]
    configured: list[tuple[list[str], list[str], int]] = [
        *((["config", action], SCREEN[:2], 0) for action in ("path", "show", "schema")),
        *((["list", "-o", output], SCREEN, 0) for output in ("table", "json", "jsonl", "csv", "line", "name")),
        (["list", "--filter", "status:late web beat:>1m version:>0.1"], SCREEN, 0),
        (["check", "--filter", "!name:x"], SCREEN, 0),
        (["hooks", "test"], ["textual", "rich", "click"], 0),
        (["wait", "mode:standard"], ["textual", "rich", "click"], 0),
        (["watch", "--hooks", "--for", "1s"], ["textual", "rich", "click"], 0),
        (["doctor"], ["click"], 0),  # asks the screen for the names of themes and keys
    ]
    steps = [
        *(("", *step) for step in plain[:-1]),
        (str(config), ["completion", "--profiles"], SLOW[:4], 0),
        ("", *plain[-1]),
        *((str(config), *step) for step in configured),
    ]
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    with serving(wire_rows(1)) as server:
        variables = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.url}
        command = [sys.executable, "-c", IMPORTS, str(tmp_path / "steps.json")]
        done = programs.run(command, without_settings(tmp_path, **variables))
    assert done.returncode == 0, done.stderr.decode()
    assert b"acme\n" in done.stdout
    assert b'{"specversion":"1.0",' in done.stdout
    assert done.stdout.count(b'"taken_at"') == 1, "one listing as JSON"


def test_the_first_request_of_a_dashboard_waits_neither_for_textual_nor_for_the_filter_language(
    tmp_path: Path,
) -> None:
    script = (
        "import sys; from envwatch.cli.arguments import options_in; "
        "from envwatch.cli.bootstrap import profiles_for; from envwatch.watch.clients import targets_for; "
        "targets_for(profiles_for(options_in([]))); "
        "sys.exit(str(sorted({'textual', 'envwatch.query.language'} & set(sys.modules))))"
    )
    environ = environment(tmp_path, LETTA_API_KEY=KEY)
    del environ["ENVWATCH_ALERT"]
    assert programs.run([sys.executable, "-c", script], environ).stderr == b"[]\n"


WITH_A_BUSY_THREAD: Final = """
import threading
from pydantic import TypeAdapter
from pydantic.functional_validators import AfterValidator
from typing import Annotated
from envwatch.cli.main import run_as_program
def count(number):
    for _ in range(2_000): pass
    return number
numbers = TypeAdapter(list[Annotated[int, AfterValidator(count)]])
def parse():
    while True: numbers.validate_python([1] * 100)
threading.Thread(target=parse, daemon=True).start()
print("printed before")
run_as_program()
"""


def test_the_process_ends_well_while_a_thread_still_parses(tmp_path: Path) -> None:
    """The demo can end while its recorded day is written. The test fails each time if Python cleans up at the end."""
    arguments = [sys.executable, "-c", WITH_A_BUSY_THREAD, "--version"]
    done = programs.run(arguments, without_settings(tmp_path))
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"printed before\n" in done.stdout, "what Python still holds is flushed"


AS_ON_WINDOWS: Final = """
import os, select, signal, sys
import shutil
sys.modules |= dict.fromkeys(("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"))
for module, names in {
    os: ("fchmod", "geteuid", "getuid", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"),
    select: ("PIPE_BUF", "POLLERR", "POLLHUP", "POLLOUT", "poll"),
    signal: ("SIGALRM", "SIGCONT", "SIGHUP", "SIGTSTP", "SIGWINCH", "setitimer"),
}.items():
    for name in names: delattr(module, name)
from envwatch.cli.arguments import COMMANDS
from envwatch.cli.main import main
sys.platform = "win32"
for command in COMMANDS: assert main([command]) == main([command, "--help"]) == 2
assert main(["--version"]) == main([]) == 2
"""


def test_on_windows_every_command_says_where_it_works(tmp_path: Path) -> None:
    """The process has neither the modules nor the names that Windows lacks."""
    done = programs.run([sys.executable, "-c", AS_ON_WINDOWS], without_settings(tmp_path))
    lines = done.stderr.decode().splitlines()
    assert set(lines) == {f"envwatch: {ON_WINDOWS}"}
    assert (done.returncode, done.stdout, len(lines)) == (0, b"", 2 * len(COMMANDS) + 2)


# Mistakes before the screen is taken.


@pytest.mark.parametrize(
    ("arguments", "config", "environ", "message"),
    [
        (("--filter", "stauts:late"), "", {}, "--filter: there is no field stauts"),
        (("demo", "--filter", "stauts:late"), "", {}, "--filter: there is no field stauts"),
        ((), 'theme = "envwatch-drak"', {}, "there is no such theme; did you mean envwatch-dark?"),
        ((), '[keys]\nmachine.explian = "x"', {}, "keys.machine.explian is no binding; did you mean machine.explain?"),
        ((), "", {"TERM": "dumb"}, "TERM is dumb"),
        ((), "", {"TERM": ""}, "TERM is not set"),
    ],
)
def test_a_mistake_before_the_dashboard_leaves_the_screen_alone(
    tmp_path: Path, arguments: tuple[str, ...], config: str, environ: dict[str, str], message: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config)
    variables = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": "http://127.0.0.1:9", "ENVWATCH_CONFIG": str(path), **environ}
    with Terminal.of_envwatch(*arguments, home=tmp_path, columns=200, environ=variables) as terminal:
        assert terminal.wait_for_end() == 2
        assert terminal.text.startswith("envwatch: ")
        assert message in terminal.text
        assert len(terminal.text.strip().splitlines()) == 1
        assert b"\x1b" not in terminal.received


def test_the_dashboard_uses_the_settings_of_its_profile(tmp_path: Path) -> None:
    config = tmp_path / ".config" / "envwatch" / "config.toml"
    config.parent.mkdir(parents=True)
    with serving([row | {"currentMode": "plan"} for row in wire_rows(3)]) as server:
        config.write_text(
            f'default_profile = "work"\n[profiles.work]\nbase_url = "{server.url}"\napi_key_env = "WORK_KEY"\n'
            'filter = "id:env-2"\nsort = "version"\n[keys]\napp.help = "h"\n'
        )
        with Terminal.of_envwatch(home=tmp_path, columns=170, lines=75, environ={"WORK_KEY": KEY}) as terminal:
            terminal.wait_for(r" 1/3")
            terminal.wait_for("^ work · ")
            terminal.wait_for("VERSION▲")
            terminal.press("?", "h")
            terminal.wait_for("the key from WORK_KEY")
            terminal.wait_for(r" h +Help")
            terminal.press("q", "q")
            assert terminal.wait_for_end() == 0
        assert KEY.encode() not in terminal.received


# The demo.


def test_the_demo_shows_its_fleet_and_ends_its_server(tmp_path: Path) -> None:
    environ = {"ENVWATCH_PROFILE": "a,no-such-profile"}
    command = ("demo", "--no-history", "--size", "12")
    with Terminal.of_envwatch(*command, home=tmp_path, columns=100, environ=environ) as terminal:
        terminal.wait_for("^ demo · ")
        terminal.wait_for("chen-nas")
        pid = terminal.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:  # noqa: PTH123 - the kernel's file
            (child,) = children.read().split()
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    assert not os.path.exists(f"/proc/{child}")  # noqa: PTH110 - as short as it is clear


def test_the_demo_server_alone_prints_what_other_programs_need(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    with programs.piped([*ENVWATCH, "demo", "--serve", "--size", "12"], environ) as (process, out, err):
        lines = [out.readline().decode() for _ in range(2)]
        exports = dict(line.removeprefix("export ").rstrip("\n").split("=", 1) for line in lines)
        assert [*exports] == ["LETTA_BASE_URL", "LETTA_API_KEY"]
        assert err.readline().startswith(b"serving 12 machines")
        done = programs.run([*ENVWATCH, "list", "-o", "jsonl"], environ | exports)
        assert len(done.stdout.splitlines()) == 12
        process.send_signal(signal.SIGINT)
        assert (out.read(), err.read()) == (b"", b"")
        assert process.wait(programs.TIMEOUT_S) == 130
