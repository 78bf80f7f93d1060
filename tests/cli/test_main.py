"""The command as users run it: real processes, real servers, a real terminal where needed."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import programs
from support.budget import first_quick
from support.builders import wire_row, wire_rows
from support.documents import promises
from support.faulty_server import How, Stop, Where, edits, faulty_server, says, skewed

from envwatch.cli.commands.list import FORMATS
from envwatch.demo.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
TIMEOUT_S = 60.0
START = 1_764_000_000_000
ENVWATCH = (sys.executable, "-m", "envwatch")


class Ended(NamedTuple):
    code: int
    out: bytes
    err: str

    @property
    def line(self) -> str:
        """The only line on standard error; asserts an empty standard output."""
        assert self.out == b""
        assert self.err.startswith("envwatch: ")
        assert self.err.count("\n") == 1
        assert self.err.endswith("\n")
        assert KEY not in self.err
        assert "\x1b" not in self.err
        return self.err.removesuffix("\n")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(130, key=KEY, now=lambda: START) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def environ(server: Server, home: Path) -> dict[str, str]:
    return clean_environ(home) | {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url, "ENVWATCH_ALERT": "id:*"}


def clean_environ(home: Path) -> dict[str, str]:
    foreign = re.compile(r"LETTA_|PYTHON|LC_|LANG|TERM|COLUMNS|.*_proxy$|SSL_", re.IGNORECASE)
    ours = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    bytecode = {name: value for name, value in os.environ.items() if name == "PYTHONPYCACHEPREFIX"}
    return ours | bytecode | {"HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm-256color"}


CLOCK = re.compile(r"envwatch: this machine's clock is \S+( \S+)? (ahead of|behind) the server's; .*\n")
"""The notice about the tests' server, whose clock stands still at `START`."""


def run(environ: Mapping[str, str], *arguments: str, command: tuple[str, ...] = ENVWATCH, **how: Any) -> Ended:
    done = programs.run([*command, *arguments], environ, **how)
    return Ended(done.returncode, done.stdout, CLOCK.sub("", done.stderr.decode()))


async def run_beside(environ: Mapping[str, str], *arguments: str) -> Ended:
    return await asyncio.to_thread(run, environ, *arguments)


@contextmanager
def terminal(environ: Mapping[str, str], *arguments: str, columns: int = 80) -> Iterator[tuple[programs.Program, int]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = programs.in_terminal([*ENVWATCH, *arguments], environ, theirs, folder=environ["HOME"])
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def screen_until(ours: int, wanted: bytes = b"\0never") -> bytes:
    seen = b""
    deadline = time.monotonic() + TIMEOUT_S
    while wanted not in seen:
        assert select.select([ours], [], [], max(deadline - time.monotonic(), 0))[0], seen[-2000:]
        try:
            some = os.read(ours, 65_536)
        except OSError:  # Linux: the program's side is closed
            break
        seen += some
    return seen


def test_the_json_holds_every_environment_with_the_same_fields(environ: dict[str, str]) -> None:
    ended = run(environ, "list", "-o", "json")
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert list(document) == promises()["A listing"]
    assert (document["filter"], document["total_unfiltered"]) == (None, 130)
    taken_at = datetime.fromisoformat(document["taken_at"])
    assert abs(taken_at.timestamp() - START / 1000) < TIMEOUT_S  # by the server's clock, not this machine's
    assert document["complete"] is True
    states = [row["state"] for row in document["environments"]]
    total = document["counts"].pop("total")
    assert document["counts"] == {state: states.count(state) for state in document["counts"]}
    assert sum(document["counts"].values()) == total == 130
    assert len({tuple(row) for row in document["environments"]}) == 1


FILTERS: dict[str, Callable[[Any], bool]] = {
    "status:late,offline": lambda row: row["state"] in {"late", "offline"},
    "status:online beat:>=45s": lambda row: row["state"] == "late",
    "mode:unrestricted !os:darwin": lambda row: (
        row["mode"] in {"unrestricted", "fullAccess", "bypassPermissions"} and row["os"] != "darwin"
    ),
    "pod:none": lambda row: row["pod_id"] is None,
    "東京": lambda row: "東京" in row["name"],
    "conn-0": lambda row: "conn-0" in (row["connection_id"] or ""),
    "no-such-thing": lambda _: False,
}
"""Queries, each with the JSON values of the matches."""


def test_a_filter_finds_what_it_says_and_changes_no_order(environ: dict[str, str]) -> None:
    everything = json.loads(run(environ, "list", "-o", "json").out)["environments"]
    for query, is_wanted in FILTERS.items():
        document = json.loads(run(environ, "list", "--filter", query, "-o", "json").out)
        wanted = [row["id"] for row in everything if is_wanted(row)]
        assert (document["filter"], [row["id"] for row in document["environments"]]) == (query, wanted)
        assert (document["counts"]["total"], document["total_unfiltered"]) == (len(wanted), 130)


@pytest.mark.parametrize("command", first_quick([(), ("demo",)]))
def test_a_mistake_in_a_filter_leaves_the_screen_alone(environ: dict[str, str], command: tuple[str, ...]) -> None:
    with terminal(environ, *command, "--filter", "stauts:late") as (process, ours):
        seen = screen_until(ours)
        assert process.wait(TIMEOUT_S) == 2
    assert seen.startswith(b"envwatch: --filter: there is no field stauts")
    assert seen.count(b"\n") == 1
    assert b"\x1b" not in seen


async def test_the_other_filters_are_the_servers_own(home: Path) -> None:
    async with faulty_server(wire_rows(5)) as faulty:
        environ = clean_environ(home) | {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url}
        options = ("--page-size=2", "--online-only", "--source", "remote", "--user", "user-1")
        ended = await run_beside(environ, "list", "-o", "jsonl", *options)
        assert len(ended.out.splitlines()) == 5
        asked = {"limit": "2", "onlineOnly": "true", "source": "remote", "userId": "user-1"}
        assert [seen.query for seen in faulty.seen] == [asked, asked | {"after": "env-2"}, asked | {"after": "env-4"}]
        await run_beside(environ, "list")
        assert faulty.seen[-1].query == {"limit": "100"}


LISTINGS = """
import sys
from envwatch.cli.main import main
for query in ("", "status:late web beat:>1m version:>0.1"):
    for output in sys.argv[1:]:
        code = main(["list", "-o", output, "--filter", query])
        loaded = sorted({"textual", "rich", "pygments", "humanize", "click"} & set(sys.modules))
        if code or loaded:
            sys.exit(f"{output}, {query}: exit code {code}, {loaded}")
"""


def test_no_listing_needs_textual_or_rich(environ: dict[str, str]) -> None:
    ended = run(environ, *FORMATS, command=(sys.executable, "-c", LISTINGS))
    assert ended.code == 0, ended.err
    assert ended.out.count(b'"taken_at"') == 2


def test_the_first_request_of_a_dashboard_waits_neither_for_textual_nor_for_the_filter_language(
    environ: dict[str, str],
) -> None:
    del environ["ENVWATCH_ALERT"]
    script = (
        "import sys; from envwatch.cli.arguments import options_in; "
        "from envwatch.cli.bootstrap import profiles_for, targets_for; targets_for(profiles_for(options_in([]))); "
        "sys.exit(str(sorted({'textual', 'envwatch.query.language'} & set(sys.modules))))"
    )
    assert run(environ, command=(sys.executable, "-c", script)).err == "[]\n"


def test_of_config_only_validate_may_need_textual(environ: dict[str, str], home: Path) -> None:
    config = home / "config.toml"
    config.write_text('theme = "nord"\n[keys]\nrow.explain = "z"\n')
    script = (
        "import sys; from envwatch.cli.main import main\n"
        "for action in ('path', 'show', 'schema'):\n"
        "    code = main(['config', action, *sys.argv[1:]])\n"
        "    loaded = sorted({'textual', 'rich'} & set(sys.modules))\n"
        "    if code or loaded: sys.exit(f'{action}: exit code {code}, {loaded}')\n"
    )
    ended = run(environ, "--config", str(config), command=(sys.executable, "-c", script))
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("arguments", [("--help",), ("list", "--help"), ("--version",), ("--no-such",), ()])
def test_help_and_refusals_import_nothing_slow(environ: dict[str, str], arguments: tuple[str, ...]) -> None:
    script = (
        "import sys, atexit; slow = "
        "{'textual', 'rich', 'httpx', 'pydantic', 'asyncio', 'dataclasses', 'subprocess', 'hashlib'}; "
        "atexit.register(lambda: sys.stderr.write(f'slow: {sorted(slow & set(sys.modules))}')); "
        "from envwatch.cli.main import main; sys.exit(main())"
    )
    ended = run(environ, *arguments, command=(sys.executable, "-c", script))
    assert ended.err.endswith("slow: []")


@pytest.mark.parametrize("arguments", [(KEY,), ("--api-key", KEY), (f"--api-key={KEY}",), ("list", KEY), ("-k", KEY)])
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(
    environ: dict[str, str], arguments: tuple[str, ...]
) -> None:
    ended = run(environ, *arguments)
    assert ended.code == 2
    assert KEY not in ended.line


def test_a_key_that_cannot_be_one_is_not_repeated(environ: dict[str, str]) -> None:
    ended = run(environ | {"LETTA_API_KEY": f"{KEY} {KEY}"}, "list")
    assert ended.code == 2
    assert KEY not in ended.line


def test_the_login_of_the_letta_cli_serves_without_a_variable(environ: dict[str, str], home: Path) -> None:
    base_url = environ.pop("LETTA_BASE_URL")
    del environ["LETTA_API_KEY"]
    settings = home / ".letta" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"env": {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": base_url}}))
    assert len(run(environ, "list", "-o", "jsonl").out.splitlines()) == 130
    settings.write_text(json.dumps({"env": {"LETTA_API_KEY": KEY}, "tokenExpiresAt": 1_700_000_000_000}))
    ended = run(environ, "list")
    assert ended.code == 2
    assert "run `letta` to log in again" in ended.line


def test_a_setting_that_no_connection_can_use_is_named(environ: dict[str, str]) -> None:
    broken = {"LETTA_BASE_URL": "https://localhost:1", "SSL_CERT_FILE": "/nowhere/ca.pem"}
    ended = run(environ | broken, "list")
    assert ended.code == 2
    assert "SSL_CERT_FILE" in ended.line


def test_http_to_another_machine_is_refused(environ: dict[str, str]) -> None:
    ended = run(environ | {"LETTA_BASE_URL": "http://api.letta.com"}, "list")
    assert ended.code == 2
    assert ended.line.endswith("(see LETTA_BASE_URL)")


async def test_a_failure_names_the_host_once_and_the_page_if_it_is_not_the_first(home: Path) -> None:
    async with faulty_server(wire_rows(250)) as faulty:
        environ = clean_environ(home) | {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url}
        host = faulty.url.removeprefix("http://")

        async def line() -> str:
            return (await run_beside(environ, "list", "-o", "json")).line

        faulty.break_page(2, says(503, '{"message":"overloaded"}'))
        assert await line() == f"envwatch: server unavailable: {host}, page 3: answered 503: overloaded"
        faulty.heal()
        faulty.break_page(1, Stop(Where.BODY, How.RESET))
        assert (await line()).startswith(f"envwatch: unreachable: {host}, page 2: ")
        faulty.heal()
        faulty.break_page(1, edits(lambda page: page["connections"].clear()))
        assert (await line()).startswith(f"envwatch: listing does not end: {host}: page 2 ")
        faulty.heal()
        faulty.break_page(0, says(503, '{"message":"overloaded"}'))
        assert await line() == f"envwatch: server unavailable: {host}: answered 503: overloaded"
        faulty.heal()
        faulty.break_page(0, says(503, '{"error":"blind","errorCode":"envwatch_blind"}'))
        assert await line() == f"envwatch: server unavailable: {host}: blind"


async def test_a_row_that_no_parser_takes_is_named_on_standard_error_and_in_the_json(home: Path) -> None:
    rows = wire_rows(20)
    rows[6] |= {"podId": float("nan")}
    async with faulty_server(rows) as faulty:
        environ = clean_environ(home) | {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url}
        ended = await run_beside(environ, "list", "-o", "json")
    assert ended.code == 0
    assert "incomplete: 1 row could not be read (env-7)" in ended.err
    document = json.loads(ended.out)
    assert (len(document["environments"]), document["set_aside"]) == (19, {"total": 1, "ids": ["env-7"]})


async def test_there_is_one_attempt(home: Path) -> None:
    async with faulty_server(wire_rows(3)) as faulty:
        faulty.break_page(0, says(503, "{}"))
        await run_beside(clean_environ(home) | {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url}, "list")
        assert len(faulty.seen) == 1


async def test_half_a_listing_is_never_printed(home: Path) -> None:
    async with faulty_server(wire_rows(3)) as faulty:
        faulty.break_page(1, says(500, "oops"))
        environ = clean_environ(home) | {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url}
        ended = await run_beside(environ, "list", "--page-size=2", "-o", "jsonl")
        assert ended.code == 3
        assert ended.out == b""


@pytest.mark.parametrize("output", first_quick(["table", "json"]))
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (0, ""),
        (7, "this machine's clock is 7s behind the server's; ages are by the server's"),
        (
            3_600,
            "the server's clock (Date) is 1h ahead of this machine's and all heartbeats",
        ),
        (
            -3_600,
            "the server's clock (Date) is 1h behind this machine's and all heartbeats",
        ),
    ],
)
async def test_what_is_wrong_with_the_clocks_is_said_and_changes_no_state(
    home: Path, output: str, error: float, said: str
) -> None:
    now = time.time() * 1000
    rows = [wire_row(f"env-{number}", lastHeartbeat=now - number * 1000) for number in range(3)]
    rows += [wire_row(f"asleep-{number}", lastHeartbeat=now - 1_000_000) for number in range(2)]
    async with faulty_server(rows) as faulty:
        faulty.break_every_page(skewed(error))
        environ = clean_environ(home) | {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url}
        ended = await asyncio.to_thread(programs.run, [*ENVWATCH, "list", "-o", output], environ)
    out = ended.stdout
    assert ended.returncode == 0
    assert (out.count(b"online"), out.count(b"offline")) == ((3, 2) if output == "table" else (4, 3)), out
    lines = [line for line in ended.stderr.decode().splitlines() if line.startswith("envwatch: ")]
    assert len(lines) == bool(said)
    # The header has whole seconds.
    assert not said or lines[0].removeprefix("envwatch: ").partition(": rows (clk?)")[0] in {
        said,
        said.replace("7s", "6s"),
        said.replace("1h", "59m 59s"),
    }


async def test_ctrl_c_ends_a_listing_that_hangs_quietly(home: Path) -> None:
    async with faulty_server(wire_rows(3)) as faulty:
        faulty.break_page(0, Stop(Where.REQUEST, How.HANG))
        environ = clean_environ(home) | {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url}
        with programs.piped([*ENVWATCH, "list"], environ) as (process, out, err):
            await faulty.settled(1)
            process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(process.wait, TIMEOUT_S) == 130
            assert (out.read(), err.read()) == (b"", b"")


BUFFERINGS: list[dict[str, str]] = [{}, {"PYTHONUNBUFFERED": "1"}]


@pytest.mark.parametrize("buffering", first_quick(BUFFERINGS))
@pytest.mark.parametrize("arguments", [("list", "-o", "json"), ("--help",)])
def test_a_reader_that_closes_the_output_causes_no_message(
    environ: dict[str, str], arguments: tuple[str, ...], buffering: dict[str, str]
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    ended = run(environ | buffering, *arguments, stdout=theirs)
    os.close(theirs)
    assert (ended.code, ended.err) == (141, "")


@pytest.mark.parametrize("buffering", BUFFERINGS)
def test_a_reader_that_leaves_in_the_middle_is_noticed(environ: dict[str, str], buffering: dict[str, str]) -> None:
    with programs.piped([*ENVWATCH, "list", "-o", "json"], environ | buffering) as (process, out, err):
        assert out.read(1) == b"{"
        out.close()
        assert err.read() == b""
        assert process.wait(TIMEOUT_S) == 141


@contextmanager
def listing_into_full_pipe(environ: dict[str, str], *, with_errors: bool) -> Iterator[tuple[programs.Program, int]]:
    """Run a listing that writes to a full non-blocking pipe, as parents that run Node make pipes."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with open(os.devnull, "rb") as stdin, open(f"{environ['HOME']}/errors", "wb") as errors:  # noqa: PTH123
        streams = (stdin.fileno(), theirs, theirs if with_errors else errors.fileno())
        process = programs.start([*ENVWATCH, "list", "-o", "json"], environ, streams)
    os.close(theirs)
    try:
        _wait_until_full(ours)
        yield process, ours
    finally:
        process.kill()
        process.wait()


def test_a_pipe_that_does_not_wait_gets_all_of_it(environ: dict[str, str]) -> None:
    with listing_into_full_pipe(environ, with_errors=True) as (process, ours):
        with os.fdopen(ours, "rb") as reader:
            document, _ = json.JSONDecoder().raw_decode(reader.read().decode())
        assert (process.wait(TIMEOUT_S), len(document["environments"])) == (0, 130)


def test_a_reader_that_leaves_a_pipe_that_does_not_wait_is_noticed(environ: dict[str, str], home: Path) -> None:
    with listing_into_full_pipe(environ, with_errors=False) as (process, ours):
        os.close(ours)
        assert process.wait(TIMEOUT_S) == 141
    assert (home / "errors").read_bytes() == b""


def _wait_until_full(pipe: int) -> None:
    size = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    deadline = time.monotonic() + TIMEOUT_S
    select.select([pipe], [], [], TIMEOUT_S)
    while struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0] < size:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("arguments", [("list",), ("--version",), ("demo", "--serve", "--size=1")])
def test_a_full_disk_is_reported(environ: dict[str, str], arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        ended = run(environ, *arguments, stdout=full.fileno())
    assert ended.code == 1
    assert ended.line == "envwatch: cannot write to standard output: No space left on device"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/full", "No space left on device"),
        ("{home}", "Is a directory"),
        ("{home}/file/log\x1b", "Not a directory"),
    ],
)
def test_a_log_that_cannot_be_written_is_reported_and_the_listing_is_there_all_the_same(
    environ: dict[str, str], home: Path, path: str, why: str
) -> None:
    (home / "file").touch()
    log = path.format(home=home)
    ended = run(environ, "list", "-o", "jsonl", "--log-file", log)
    named = log.replace("\x1b", "\\x1b")
    assert (ended.code, ended.err) == (0, f"envwatch: cannot write to the log {named}: {why}\n")
    assert len(ended.out.splitlines()) == 130
    refused = run(environ | {"LETTA_API_KEY": "sk-let-somebody-elses"}, "list", "--log-file", log)
    assert refused.code == 4
    assert [line.partition(":")[2][:12] for line in refused.err.splitlines()] == [" cannot writ", " key refused"]


def test_a_closed_standard_output_is_reported(environ: dict[str, str]) -> None:
    command = ("sh", "-c", 'exec "$0" "$@" >&-', *ENVWATCH)
    ended = run(environ, "list", command=command)
    assert (ended.code, ended.line) == (1, "envwatch: standard output is closed")


def test_a_closed_standard_error_changes_no_exit_code(environ: dict[str, str]) -> None:
    command = ("sh", "-c", 'exec "$0" "$@" 2>&-', *ENVWATCH)
    ended = run(environ, "list", command=command)
    assert (ended.code, ended.out.count(b"\n")) == (0, 131)
    assert run(environ | {"LETTA_API_KEY": "short"}, "list", command=command).code == 2


def test_a_full_disk_under_standard_error_changes_no_exit_code(environ: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        ended = run(environ, "list", stderr=full.fileno())
        refused = run(environ | {"LETTA_API_KEY": "short"}, "list", stderr=full.fileno())
    assert (ended.code, ended.out.count(b"\n")) == (0, 131)
    assert refused.code == 2


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "C"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_no_locale_makes_a_listing_fail(environ: dict[str, str], locale: dict[str, str]) -> None:
    script = "from envwatch.cli.main import main; raise SystemExit(main(['list']) or main(['list', '-o', 'jsonl']))"
    ended = run(environ | locale, command=(sys.executable, "-c", script))
    assert ended.code == 0
    lines = ended.out.splitlines()
    table, documents = lines[:131], lines[131:]
    assert [line[:1] == b"{" for line in lines] == [False] * 131 + [True] * 130
    assert b"".join(table).isascii() or locale != {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert "東京" in b"".join(documents).decode()


@pytest.mark.parametrize("name", first_quick(["dumb", ""]))
def test_a_terminal_that_cannot_draw_gets_one_line_and_no_escape(environ: dict[str, str], name: str) -> None:
    with terminal(environ | {"TERM": name}) as (process, ours):
        seen = screen_until(ours)
        assert process.wait(TIMEOUT_S) == 2
    assert seen.startswith(b"envwatch: TERM is ")
    assert seen.count(b"\n") == 1
    assert b"\x1b" not in seen


def test_the_dashboard_without_a_key_leaves_the_screen_alone(environ: dict[str, str]) -> None:
    del environ["LETTA_API_KEY"]
    with terminal(environ) as (process, ours):
        seen = screen_until(ours, b"API key (not shown")
        os.write(ours, b"\n")
        seen += screen_until(ours)
        assert process.wait(TIMEOUT_S) == 2
    assert b"\nenvwatch: no API key" in seen
    assert b"\x1b" not in seen


def test_the_demo_shows_its_fleet_and_takes_its_server_with_it(environ: dict[str, str]) -> None:
    del environ["LETTA_API_KEY"], environ["LETTA_BASE_URL"]
    with terminal(environ, "demo", "--no-history", "--size", "12") as (process, ours):
        seen = screen_until(ours, b"chen-nas")
        (child,) = _children_of(process.pid)
        os.write(ours, b"q")
        screen_until(ours)
        assert process.wait(TIMEOUT_S) == 0
    assert b"demo" in seen
    assert not os.path.exists(f"/proc/{child}")  # noqa: PTH110 - as short as it is clear


def test_the_dashboard_watches_the_server_of_the_variables(environ: dict[str, str]) -> None:
    with terminal(environ, "--filter", "version:0.31.2") as (process, ours):
        seen = screen_until(ours, b"ci-runner-16")
        os.write(ours, b"q")
        seen += screen_until(ours)
        assert process.wait(TIMEOUT_S) == 0
    assert KEY.encode() not in seen


def test_the_demo_server_alone_prints_what_other_programs_need(environ: dict[str, str]) -> None:
    arguments = ("demo", "--serve", "--size", "12")
    with programs.piped([*ENVWATCH, *arguments], environ) as (process, out, err):
        lines = [out.readline().decode() for _ in range(2)]
        exports = dict(line.removeprefix("export ").rstrip("\n").split("=", 1) for line in lines)
        assert [line.split("=")[0] for line in lines] == ["export LETTA_BASE_URL", "export LETTA_API_KEY"]
        assert err.readline().startswith(b"serving 12 environments")
        assert len(run(environ | exports, "list", "-o", "jsonl").out.splitlines()) == 12
        process.send_signal(signal.SIGINT)
        assert (out.read(), err.read()) == (b"", b"")
        assert process.wait(TIMEOUT_S) == 130


def _children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:  # noqa: PTH123 - the kernel's file
        return [int(child) for child in children.read().split()]
