"""`envwatch list`: what it asks for, what it prints of a broken listing, chosen columns, progress, memory.

The transcripts have every option, format and failure; `tests/views/test_output.py` has the rows.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import wire_row, wire_rows
from support.faulty_server import KEY, Faulty, How, Reply, Stop, Where, edits, faulty_server, running, says
from support.pty_terminal import Terminal, environment

from envwatch.cli.commands.list import FORMATS
from envwatch.config.credentials import Credentials
from envwatch.config.settings import read_settings
from envwatch.demo.child import ChildServer
from envwatch.model.redactor import Secret
from envwatch.model.text import SafeText, clean
from envwatch.watch.one_listing import fetch_all
from envwatch.watch.profiles import Profiles, SelectedProfile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.faulty_server import Fault
    from support.in_process import Envwatch

    from envwatch.model.outcome import Failed, Listed


def test_a_listing_uses_the_settings_of_its_profile_and_then_the_options(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = wire_rows(3)
    envwatch.write_config(
        f'page_size = 2\n[profiles.work]\nbase_url = "{faulty.url}"\napi_key_file = "work.key"\n'
        'online_only = true\nsource = "remote"\nuser = "me"\n'
    )
    key = envwatch.home / "envwatch" / "work.key"
    key.touch(0o600)
    key.write_text(KEY)
    assert len(envwatch("list", "--profile", "work", "-o", "jsonl").out.splitlines()) == 3
    asked = {"limit": "2", "onlineOnly": "true", "source": "remote", "userId": "me"}
    assert [seen.query for seen in faulty.seen] == [asked, asked | {"after": "env-2"}]
    envwatch("list", "--profile=work", "--no-online-only", "--user=u", ENVWATCH_SOURCE="local")
    assert faulty.seen[-2].query == {"limit": "2", "source": "local", "userId": "u"}
    key.chmod(0o644)
    refused = envwatch("list", "--profile", "work")
    assert refused.code == 2
    assert f"chmod 600 {key}" in refused.line


def test_the_key_of_the_environment_goes_only_to_the_server_of_the_only_profile(
    envwatch: Envwatch, faulty: Faulty
) -> None:
    left_over = Faulty(wire_rows(1))
    faulty.rows = wire_rows(3)
    envwatch.write_config(f'[profiles.prod]\nbase_url = "{faulty.url}"\n')
    with running(left_over):
        for address in ("", left_over.url):
            assert len(envwatch("list", "-o", "jsonl", LETTA_BASE_URL=address).out.splitlines()) == 3
        envwatch.write_config(f'[profiles.a]\nbase_url = "{faulty.url}"\n[profiles.b]\nbase_url = "{faulty.url}"\n')
        assert "a, b: choose with --profile a" in envwatch("list", LETTA_BASE_URL=left_over.url).line
    assert left_over.seen == []


def test_the_login_of_the_letta_cli_serves_without_a_variable(
    envwatch: Envwatch, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.rows = wire_rows(3)
    for name in ("LETTA_API_KEY", "LETTA_BASE_URL"):
        monkeypatch.delenv(name)
    settings = envwatch.home / ".letta" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"env": {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": faulty.url}}))
    assert len(envwatch("list", "-o", "jsonl").out.splitlines()) == 3


def test_every_format_hints_at_a_filter_with_rows(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = [wire_row(f"web-{number}") for number in range(3)]
    for form in FORMATS:
        ended = envwatch("list", "-o", form, "--filter", "name:web")
        assert (ended.code, "envwatch: name:web finds 0; name:*web* finds 3" in ended.err) == (0, True), ended.err


def test_a_view_that_filters_by_recorded_time_is_refused_where_no_past_is_known(
    envwatch: Envwatch, faulty: Faulty
) -> None:
    envwatch.write_config('[views.worn]\nfilter = "24h:<90"\n')
    for command in ("list", "watch"):
        ended = envwatch(command, "--view", "worn")
        assert ended.code == 2
        assert ended.line == "--view: 24h:<90 needs the past, which only the dashboard knows"
    assert not faulty.seen


@pytest.mark.parametrize(
    ("page", "fault", "message"),
    [
        (2, says(503, '{"message":"overloaded"}'), "server unavailable: HOST, page 3: answered 503: overloaded"),
        (1, Stop(Where.BODY, How.RESET), "unreachable: HOST, page 2: .*"),
        (1, edits(lambda page: page["connections"].clear()), "endless answer: HOST: page 2 .*"),
        (0, says(503, '{"error":"blind","errorCode":"envwatch_blind"}'), "server unavailable: HOST: blind"),
    ],
)
def test_a_failed_listing_is_one_line_with_host_and_page_after_one_attempt(
    envwatch: Envwatch, faulty: Faulty, page: int, fault: Fault, message: str
) -> None:
    faulty.rows = wire_rows(5)
    faulty.break_page(page, fault)
    ended = envwatch("list", "--page-size=2", "-o", "jsonl")
    assert ended.code == 3
    assert re.fullmatch(message.replace("HOST", faulty.url.removeprefix("http://")), ended.line)
    assert len(faulty.seen) == page + 1


@pytest.mark.parametrize("path", ["/dev/full", "{home}", "{home}/file/log\x1b"])
def test_the_listing_is_printed_if_the_log_cannot_be_written(envwatch: Envwatch, faulty: Faulty, path: str) -> None:
    (envwatch.home / "file").touch()
    faulty.rows = wire_rows(3)
    log = path.format(home=envwatch.home)
    ended = envwatch("list", "-o", "jsonl", "--log-file", log)
    named = log.replace("\x1b", "\\x1b")
    assert (ended.code, len(ended.out.splitlines())) == (0, 3)
    assert ended.err.startswith(f"envwatch: cannot write to the log {named}: ")
    faulty.break_page(0, says(401))
    refused = envwatch("list", "--log-file", log)
    assert refused.code == 4
    assert [line.partition(":")[2][:12] for line in refused.err.splitlines()] == [" cannot writ", " key refused"]


# Chosen columns.

LONG_KEY = "k" * 80


def machine(name: str, **metadata: Any) -> dict[str, Any]:
    seen = {"lastHeartbeat": time.time() * 1000, "podId": None}
    return wire_row(f"env-{name}", connectionName=name, metadata={"lettaCodeVersion": "0.34.1", **metadata}, **seen)


def test_json_and_csv_have_exactly_the_chosen_columns(envwatch: Envwatch, faulty: Faulty) -> None:
    faulty.rows = [machine("gpu-1", rack=10), machine("gpu-2", rack="9", machine={"gpus": ["a", "b"]}), machine("off")]
    columns = ("list", "--columns", "name,meta.machine,meta.rack,pod,beat", "--filter", "name:gpu-*", "--sort", "name")
    rows = json.loads(envwatch(*columns, "-o", "json").out)["environments"]
    assert rows[0].pop("beat").endswith(("s", "m"))
    assert rows[1].pop("beat")
    assert rows == [
        {"name": "gpu-1", "meta.machine": None, "meta.rack": 10, "pod": None},
        {"name": "gpu-2", "meta.machine": {"gpus": ["a", "b"]}, "meta.rack": "9", "pod": None},
    ]
    lines = envwatch(*columns, "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["meta.rack"] for line in lines] == [10, "9"]
    header, *cells = csv.reader(io.StringIO(envwatch(*columns, "-o", "csv").out))
    assert header == ["name", "meta.machine", "meta.rack", "pod", "beat"]
    assert [row[1:3] for row in cells] == [["", "10"], ['{"gpus":["a","b"]}', "9"]]


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_hostile_keys_print_no_control_character(envwatch: Envwatch, faulty: Faulty, output: str) -> None:
    faulty.rows = [machine("gpu-1", **{LONG_KEY: "long", 'say "hi"': "quoted", "\x1b[31mred": "\x1b[32m"})]
    keys = ",".join((f"meta.{LONG_KEY}", 'meta.say "hi"', "meta.\x1b[31mred", "meta.東京", "meta.a.b..c"))
    for more in ((), ("--ascii",)):
        ended = envwatch("list", "--columns", keys, "-o", output, *more)
        assert ended.code == 0
        assert "long" in ended.out
        assert "quoted" in ended.out
        assert all(line.isprintable() for line in ended.out.splitlines())


# Progress of a long listing.

SLOW_S = 1.1
"""Longer than a listing without a line of progress."""


def late(reply: Reply) -> Reply:
    return replace(reply, latency=SLOW_S)


async def test_a_long_listing_shows_the_rows_so_far_and_erases_them_also_after_a_signal(tmp_path: Path) -> None:
    async with faulty_server(wire_rows(5)) as server:
        variables = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.url}
        server.break_page(1, late)

        def listed() -> tuple[int, bytes, str]:
            command = ("list", "--page-size", "2", "-o", "name")
            with Terminal.of_envwatch(*command, home=tmp_path, environ=variables) as terminal:
                return terminal.wait_for_end(), bytes(terminal.received), terminal.text

        def ended() -> tuple[int, str]:
            command = ("check", "--page-size", "2", "--timeout", "60")
            with Terminal.of_envwatch(*command, home=tmp_path, environ=variables) as terminal:
                terminal.wait_for("^reading: 4 machines, 2 pages$")
                terminal.send_signal(signal.SIGTERM)
                return terminal.wait_for_end(), terminal.text.strip()

        code, received, text = await asyncio.to_thread(listed)
        assert b"\rreading: 4 machines, 2 pages" in received
        assert "reading" not in text
        assert (code, text.count("laptop of env-")) == (0, 5)
        server.break_page(2, Stop(Where.BODY, How.HANG))
        assert await asyncio.to_thread(ended) == (3, "ENVWATCH UNKNOWN - terminated before there was data")


async def test_several_listings_are_counted_together(tmp_path: Path) -> None:
    async with faulty_server(wire_rows(250)) as server:
        credentials = Credentials(key=Secret(KEY), base_url=server.url, origin="a test")
        (settings,) = read_settings({}, {"HOME": str(tmp_path)})
        outcomes: dict[SafeText, Listed | Failed] = {}
        read = list[tuple[int, int]]()
        profiles = Profiles({clean(name): SelectedProfile(credentials, settings) for name in ("a", "b")})
        await fetch_all(profiles, outcomes, lambda pages, rows: read.append((pages, rows)))
    assert len(outcomes) == 2
    assert (read[0], read[-1]) == ((1, 100), (6, 500))


# Memory, in a separate process.

ROWS = 20_000
KIB_A_ROW = 3.0
"""100,000 rows and the program's base of 50 MiB then fit into 350 MiB."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ChildServer, ChildServer]]:
    with closing(ChildServer(10)) as few, closing(ChildServer(ROWS)) as many:
        assert few.base_url != many.base_url
        yield few, many


def peak(server: ChildServer, home: Path, output: str) -> float:
    """Return a listing's peak memory in KiB."""
    environ = environment(home, LETTA_API_KEY=server.key, LETTA_BASE_URL=server.base_url)
    command = [sys.executable, "-m", "envwatch", "list", "--page-size", "1000", "-o", output]
    with subprocess.Popen(command, env=environ, cwd=home, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)


@pytest.mark.slow
@pytest.mark.parametrize("output", FORMATS)
def test_a_listing_takes_little_memory_for_each_of_its_rows(
    servers: tuple[ChildServer, ChildServer], tmp_path: Path, output: str
) -> None:
    few, many = (peak(server, tmp_path, output) for server in servers)
    assert (many - few) / ROWS <= KIB_A_ROW
