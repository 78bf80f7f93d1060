"""Several profiles in the real program: on one screen, each with separate failures."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import programs
from support.builders import wire_row, wire_rows
from support.demo_screen import titles_line
from support.faulty_server import KEY, How, Stop, Where, faulty_server, serving
from support.pty_terminal import Terminal, environment
from support.still_server import still_server
from support.terminal_modes import is_fresh, modes_after

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from envwatch.demo.server import Server

KEYS = {"acme": "sk-let-acme-0123456789abcdefghijklmnop", "bolt": "sk-let-bolt-qrstuvwxyz9876543210zyxwvu"}
SIZES = {"acme": 8, "bolt": 11}


@contextmanager
def two_servers() -> Iterator[dict[str, Server]]:
    with (
        still_server(SIZES["acme"], KEYS["acme"]) as acme,
        still_server(SIZES["bolt"], KEYS["bolt"]) as bolt,
    ):
        yield {"acme": acme, "bolt": bolt}


@pytest.fixture
def servers() -> Iterator[dict[str, Server]]:
    # Fresh for each test: environments join a simulated fleet as time passes, and the tests count environments.
    with two_servers() as running:
        yield running


def credentials(home: Path, servers: Mapping[str, Server | Away], **keys: str) -> dict[str, str]:
    lines = ['interval = "1s"']
    for name, server in servers.items():
        lines += [f"[profiles.{name}]", f'base_url = "{server.base_url}"', f'api_key_env = "{name.upper()}_KEY"']
    folder = home / ".config" / "envwatch"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text("\n".join(lines))
    return {f"{name.upper()}_KEY": key for name, key in (KEYS | keys).items()}


def listing(
    home: Path,
    servers: Mapping[str, Server | Away],
    *arguments: str,
    keys: Mapping[str, str] | None = None,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    environ = environment(home, **credentials(home, servers, **(keys or {})), **more)
    command = [sys.executable, "-m", "envwatch", "list", *arguments]
    ended = programs.run(command, environ, folder=home)
    return subprocess.CompletedProcess(command, ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def test_profiles_stand_side_by_side_and_the_end_of_one_leaves_the_other_live(tmp_path: Path) -> None:
    with two_servers() as servers:
        environ = credentials(tmp_path, servers)
        with Terminal.of_envwatch(
            "--profile", "acme,bolt", home=tmp_path, columns=140, lines=40, environ=environ
        ) as terminal:
            terminal.wait_for(r"^ acme, bolt .*● [0-9]+ on .*live [0-9]s/1s$")
            terminal.wait_for(r"^  STATE    FOR BEAT NAME +PROFILE +MODE ")
            terminal.press("G", "x")
            terminal.wait_for(r"^..▾ offline for over 24 h")
            terminal.wait_until(lambda: profiles_of(terminal) == SIZES, "every row of both")
            terminal.press("b")
            terminal.wait_for("PROFILE +2 groups")
            terminal.press("\x1b[27u")
            terminal.wait_for_no("Group by")
            servers["bolt"].close()
            terminal.wait_for(r"^ bolt: +unreachable: .* (next try in [0-9]+s, r tries now|trying *)$")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
            assert is_fresh(modes_after(terminal.received))
            assert not any(key.encode() in terminal.received for key in KEYS.values())


def profiles_of(terminal: Terminal) -> dict[str, int]:
    titles, counts = titles_line(terminal), Counter[str]()
    place = terminal.display[titles].index("PROFILE")
    for y, line in enumerate(terminal.display):
        if (found := re.match(r"[▌ ][► ][●◐○·?] (?:([0-9]+) )?", line)) is not None:
            start = place if y > titles else 20  # in the block, the profile is before the names
            counts[terminal.part(y, start).split()[0]] += int(found[1] or 1)
    return dict(sorted(counts.items()))


def test_a_listing_has_the_rows_of_both_with_their_profile(tmp_path: Path, servers: dict[str, Server]) -> None:
    ended = listing(tmp_path, servers, "--profile", "acme,bolt", "-o", "json")
    assert (ended.returncode, ended.stderr) == (0, "")
    document = json.loads(ended.stdout)
    names = [row["profile"] for row in document["environments"]]
    assert {name: names.count(name) for name in names} == SIZES
    assert document["counts"]["total"] == sum(SIZES.values())
    assert document["complete"]


def test_the_variable_names_several_profiles_too_and_the_option_overrides_it(
    tmp_path: Path, servers: dict[str, Server]
) -> None:
    by_variable = listing(tmp_path, servers, "-o", "jsonl", ENVWATCH_PROFILE="acme,bolt")
    assert by_variable.returncode == 0
    rows = [json.loads(line) for line in by_variable.stdout.splitlines()]
    assert {row["profile"] for row in rows} == {"acme", "bolt"}
    by_option = listing(tmp_path, servers, "--profile", "bolt", "-o", "json", ENVWATCH_PROFILE="acme,bolt")
    assert {row["profile"] for row in json.loads(by_option.stdout)["environments"]} == {None}
    environ = credentials(tmp_path, servers) | {"ENVWATCH_PROFILE": "bolt, acme"}
    with Terminal.of_envwatch(home=tmp_path, columns=120, environ=environ) as terminal:
        terminal.wait_for("^ bolt, acme ")
        terminal.wait_for("BEAT NAME +PROFILE")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_one_profile_shows_no_column_for_it(tmp_path: Path, servers: dict[str, Server]) -> None:
    environ = credentials(tmp_path, servers)
    with Terminal.of_envwatch("--profile", "acme", home=tmp_path, columns=120, environ=environ) as terminal:
        terminal.wait_for("acme · 127.0.0.1")
        terminal.wait_for("BEAT NAME +MODE")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


@pytest.mark.parametrize("command", ["list", "dashboard"])
def test_an_unknown_profile_is_named_and_no_server_is_polled(
    tmp_path: Path, servers: dict[str, Server], command: str
) -> None:
    if command == "list":
        ended = listing(tmp_path, servers, "--profile", "acme,bulk")
        code, message, shown = ended.returncode, ended.stderr, ended.stdout
    else:
        environ = credentials(tmp_path, servers)
        with Terminal.of_envwatch("--profile", "acme,bulk", home=tmp_path, columns=200, environ=environ) as terminal:
            code, message, shown = terminal.wait_for_end(), terminal.text.strip(), ""
            assert b"\x1b" not in terminal.received
    assert code == 2
    assert shown == ""
    assert message.count("\n") <= 1
    assert "no profile bulk; it has acme, bolt" in message


WRONG = "sk-let-wrong-0123456789abcdefghijklmnop"


def test_a_key_refused_under_one_profile_is_reported_with_its_name_beside_the_other_listing(
    tmp_path: Path, servers: dict[str, Server]
) -> None:
    ended = listing(tmp_path, servers, "--profile", "acme,bolt", "-o", "json", keys={"bolt": WRONG})
    assert ended.returncode == 4
    document = json.loads(ended.stdout)
    assert (document["complete"], document["counts"]["total"]) == (False, SIZES["acme"])
    assert {row["profile"] for row in document["environments"]} == {"acme"}
    assert ended.stderr.startswith("envwatch: profile bolt: key refused: ")
    assert ended.stderr.count("\n") == 1
    assert "Is the key from BOLT_KEY right, and still valid?" in ended.stderr
    assert "LETTA_API_KEY" not in ended.stderr
    assert WRONG not in ended.stderr


class Away(NamedTuple):
    base_url: str


@pytest.fixture(scope="module")
def gone() -> Iterator[Away]:
    # The port stays bound without a listener: a port that is free may be another test's server a moment later.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Away(f"http://127.0.0.1:{bound.getsockname()[1]}")


@pytest.mark.parametrize(("output", "lines"), [("json", None), ("jsonl", 8), ("csv", 9), ("table", 9)])
def test_a_server_that_is_away_under_one_profile_takes_no_other_listing_with_it(
    tmp_path: Path, servers: dict[str, Server], gone: Away, output: str, lines: int | None
) -> None:
    ended = listing(tmp_path, {**servers, "bolt": gone}, "--profile", "bolt,acme", "-o", output)
    assert ended.returncode == 3
    *summary, line = ended.stderr.splitlines()
    assert line.startswith("envwatch: profile bolt: unreachable: ")
    if lines is None:
        assert json.loads(ended.stdout)["complete"] is False
    else:
        assert len(ended.stdout.splitlines()) == lines
    assert len(summary) == (output == "table")
    if summary:
        host = servers["acme"].base_url.partition("//")[2]
        assert re.fullmatch(rf"8 environments at {host}: .*; incomplete: no listing of bolt", summary[0])


def test_where_nothing_can_be_listed_each_profile_has_its_line_and_a_refused_key_counts_most(
    tmp_path: Path, servers: dict[str, Server], gone: Away
) -> None:
    ended = listing(tmp_path, {**servers, "bolt": gone}, "--profile", "acme,bolt", "-o", "json", keys={"acme": WRONG})
    assert (ended.returncode, ended.stdout) == (4, "")
    causes = [line.partition(" (")[0].split(": ")[1:3] for line in ended.stderr.splitlines()]
    assert causes == [["profile acme", "key refused"], ["profile bolt", "unreachable"]]


async def test_all_profiles_are_asked_at_once(tmp_path: Path) -> None:
    async with faulty_server(wire_rows(3)) as one, faulty_server(wire_rows(3)) as other:
        config = tmp_path / "config.toml"
        lines = ['page_deadline = "300s"', 'walk_deadline = "300s"']
        for name, server in (("one", one), ("other", other)):
            server.break_page(0, Stop(Where.REQUEST, How.HANG))
            lines += [f"[profiles.{name}]", f'base_url = "{server.url}"', 'api_key_env = "THE_KEY"']
        config.write_text("\n".join(lines))
        command = ["-m", "envwatch", "list", "--config", str(config), "--profile", "one,other"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            env=environment(tmp_path, THE_KEY=KEY),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            await one.settled(1)
            await other.settled(1)
        finally:
            process.send_signal(signal.SIGINT)
            out, _ = await process.communicate()
        assert (process.returncode, out) == (130, b"")


def test_the_log_of_a_listing_names_each_profile(tmp_path: Path, servers: dict[str, Server], gone: Away) -> None:
    arguments = ("--profile", "acme,bolt", "-o", "jsonl", "--log-file", "a.log")
    listing(tmp_path, {**servers, "bolt": gone}, *arguments)
    entries = [line.partition("] ")[2] for line in (tmp_path / "a.log").read_text().splitlines()]
    assert [line.partition(": ")[0] for line in entries] == ["info acme", "warning bolt"]
    listing(tmp_path, servers, "--profile", "acme", "--log-file", "b.log")
    assert re.search(r"\] info poll: ", (tmp_path / "b.log").read_text())


def test_a_sort_by_for_compares_rows_of_profiles_with_limits_of_their_own(tmp_path: Path) -> None:
    now = time.time() * 1000
    silent = {"home": 100, "work": 90}
    with ExitStack() as stack:
        lines = ['sort = "for"', 'online_for = "10m"']
        for (name, silent_s), late_after in zip(silent.items(), ("95s", "45s"), strict=True):
            rows = [wire_row(f"env-{name}", connectionName=name, lastHeartbeat=now - silent_s * 1000)]
            url = stack.enter_context(serving(rows)).url
            lines += [f"[profiles.{name}]", f'base_url = "{url}"', 'api_key_env = "K"', f'late_after = "{late_after}"']
        (tmp_path / "config.toml").write_text("\n".join(lines), encoding="utf-8")
        command = ("--config", str(tmp_path / "config.toml"), "--profile", "home,work")
        with Terminal.of_envwatch(*command, home=tmp_path, environ={"K": KEY}) as terminal:
            terminal.wait_for(r"late +[0-9]+s .* home(?s:.*)late +([0-9]+s|1m) .* work")
