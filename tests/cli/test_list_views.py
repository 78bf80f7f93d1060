"""`list` with chosen columns and keys of the metadata, against a real server."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import programs
from support.builders import wire_row
from support.faulty_server import KEY, Faulty, faulty_server
from support.pty_terminal import environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LONG_KEY = "k" * 80


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def machine(name: str, **metadata: Any) -> dict[str, Any]:
    seen = {"lastHeartbeat": time.time() * 1000, "podId": None}
    return wire_row(f"env-{name}", connectionName=name, metadata={"lettaCodeVersion": "0.34.1", **metadata}, **seen)


def rows() -> list[dict[str, Any]]:
    off = {"connectionId": None, "lastHeartbeat": None, "metadata": {"team": "ml"}}
    return [
        machine("gpu-1", team="ml", rack=10, **{LONG_KEY: "long", 'say "hi"': "quoted", "\x1b[31mred": "\x1b[32m"}),
        machine("gpu-2", team="ml", rack="9", machine={"gpus": ["a", "b"]}),
        machine("gpu-3"),
        machine("web-1", team="web", rack=1),
        wire_row("env-off", connectionName="off", **off),
    ]


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    async with faulty_server(rows()) as faulty:
        yield faulty


async def listed(server: Faulty, home: Path, *arguments: str, **more: str) -> Ended:
    environ = environment(home, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.url, **more)
    command = [sys.executable, "-m", "envwatch", "list", *arguments]
    done = await asyncio.to_thread(programs.run, command, environ)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


async def test_json_and_csv_have_exactly_the_chosen_columns(server: Faulty, tmp_path: Path) -> None:
    columns = ("--columns", "name,state,meta.machine,meta.rack,pod,beat", "--filter", "name:gpu-*", "--sort", "name")
    document = json.loads((await listed(server, tmp_path, *columns, "-o", "json")).out)
    beat = document["environments"][0]["beat"]
    assert beat.endswith(("s", "m", "h", "d"))
    assert [{**row, "beat": ""} for row in document["environments"]] == [
        {"name": "gpu-1", "state": "online", "meta.machine": None, "meta.rack": 10, "pod": None, "beat": ""},
        {
            "name": "gpu-2",
            "state": "online",
            "meta.machine": {"gpus": ["a", "b"]},
            "meta.rack": "9",
            "pod": None,
            "beat": "",
        },
        {"name": "gpu-3", "state": "online", "meta.machine": None, "meta.rack": None, "pod": None, "beat": ""},
    ]
    lines = (await listed(server, tmp_path, *columns, "-o", "jsonl")).out.splitlines()
    assert [json.loads(line)["meta.rack"] for line in lines] == [10, "9", None]
    header, *cells = csv.reader(io.StringIO((await listed(server, tmp_path, *columns, "-o", "csv")).out))
    assert header == ["name", "state", "meta.machine", "meta.rack", "pod", "beat"]
    assert [row[2:4] for row in cells] == [["", "10"], ['{"gpus":["a","b"]}', "9"], ["", ""]]


@pytest.mark.parametrize("output", ["table", "json", "csv"])
async def test_hostile_keys_print_no_control_character(output: str, server: Faulty, tmp_path: Path) -> None:
    keys = ",".join((f"meta.{LONG_KEY}", 'meta.say "hi"', "meta.\x1b[31mred", "meta.東京", "meta.a.b..c"))
    ended = await listed(server, tmp_path, "--columns", keys, "-o", output, "--filter", "name:gpu-1")
    assert ended.code == 0
    assert "long" in ended.out
    assert "quoted" in ended.out
    assert all(line.isprintable() for line in ended.out.splitlines())
    if output == "table":
        ascii_only = await listed(server, tmp_path, "--columns", keys, "--ascii", PYTHONIOENCODING="ascii")
        assert ascii_only.code == 0
        assert ascii_only.out.isascii()


async def test_validate_names_every_mistake_of_a_view_with_file_and_line(server: Faulty, tmp_path: Path) -> None:
    text = 'view = "x"\n[views.gpu]\nkey = "n"\nsort = "y"\n[views.cpu]\nkey = "V"\n'
    text += '[commands.ssh]\nkey = "V"\nrun = ["x"]\n'
    path = tmp_path / "config.toml"
    path.write_text(text)
    command = [sys.executable, "-m", "envwatch", "config", "validate", "--config", str(path)]
    done = await asyncio.to_thread(programs.run, command, environment(tmp_path))
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert [line.removeprefix(f"envwatch: {path}:")[:38] for line in lines] == [
        "1: view names no view: there are gpu, ",
        "3: views.gpu.key is the key of find.ne",
        "4: views.gpu.sort must be one of probl",
        "8: commands.ssh.key is the key of view",
    ]
    assert server.seen == []
