"""The demo API as a child process: starts, and always ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from support.demo_client import KEY, LISTING, Client
from support.load import scaled

from envwatch.demo.child import ChildServer


def test_a_child_serves_its_fleet_with_a_key_of_its_own() -> None:
    with closing(ChildServer(3)) as first, closing(ChildServer(3)) as second:
        assert first.key != second.key
        assert abs(time.time() * 1_000 - first.started_at) < 60_000
        with Client(first.base_url, first.key) as plain:
            assert len(plain.rows()) == 3
            assert plain.ask(LISTING, Authorization=f"Bearer {second.key}").status == 401


def child_process() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "envwatch.demo.server", "3"]
    environ = {**os.environ, "LETTA_API_KEY": KEY}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)


def test_a_child_prints_its_address_and_ends_within_2_seconds_of_its_input() -> None:
    with child_process() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert line == {"base_url": line["base_url"], "started_at": line["started_at"]}
        with Client(line["base_url"]) as plain:  # an open connection does not keep the child alive
            assert plain.ask(LISTING).status == 200
            process.stdin.close()
            assert process.wait(scaled(2)) == 0
            assert process.stdout.read() == b""


def test_a_child_ignores_ctrl_c_and_obeys_sigterm() -> None:
    with child_process() as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        with Client(line["base_url"]) as plain:
            assert plain.ask(LISTING).status == 200
        process.terminate()
        assert process.wait(scaled(2)) == -signal.SIGTERM


def test_a_child_without_a_key_does_not_serve() -> None:
    command = [sys.executable, "-m", "envwatch.demo.server", "3"]
    environ = {name: value for name, value in os.environ.items() if name != "LETTA_API_KEY"}
    ended = subprocess.run(command, capture_output=True, env=environ, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"LETTA_API_KEY" in ended.stderr


def test_a_child_ends_with_a_killed_parent() -> None:
    program = (
        "import sys\n"
        "from envwatch.demo.child import ChildServer\n"
        "child = ChildServer(3)\n"
        "print(child.base_url, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        host, port = parent.stdout.readline().decode().strip().removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            parent.kill()
            with contextlib.suppress(ConnectionResetError):  # the server had not accepted the connection yet
                assert connection.recv(1) == b""


def test_a_child_is_out_of_reach_of_ctrl_c_and_ctrl_z_in_the_terminal() -> None:
    program = (
        "import os, signal\n"
        "from contextlib import closing\n"
        "from envwatch.demo.child import ChildServer\n"
        "signal.signal(signal.SIGINT, print)\n"
        "with closing(ChildServer(3)) as child:\n"
        "    os.killpg(0, signal.SIGINT)\n"  # before the child has set a handler
        "    print(child.base_url, flush=True)"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, start_new_session=True, timeout=60, check=True)
    assert ended.stdout.splitlines()[-1].startswith(b"http://127.0.0.1:")


def test_a_childs_death_before_the_start_is_an_os_error() -> None:
    with closing(ChildServer(3, ("-c", "pass"))) as child, pytest.raises(OSError, match="ended before it could listen"):
        assert child.base_url


def test_a_child_without_a_port_says_why() -> None:
    program = (
        "import os, resource, sys; from envwatch.demo.server import main\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "sys.exit(main('3'))"
    )
    with (
        closing(ChildServer(3, ("-c", program))) as child,
        pytest.raises(OSError, match=r"the demo server cannot listen: .*open files"),
    ):
        assert child.base_url


def test_a_deaf_child_is_terminated() -> None:
    program = 'import signal; print(\'{"base_url": "http://x"}\', flush=True); signal.pause()'
    child = ChildServer(3, ("-c", program))
    assert child.base_url == "http://x"
    child.close()
    child.close()


def test_importing_the_demo_imports_nothing_heavy() -> None:
    program = "import sys, envwatch.demo.server, envwatch.demo.child; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {name.partition(".")[0] for name in loaded}.isdisjoint({"httpx", "pydantic", "textual", "rich", "asyncio"})
    ours = {name for name in loaded if name.startswith("envwatch") and not name.startswith("envwatch.demo")}
    row = {f"envwatch.model.{name}" for name in ("clock", "environment", "limits", "listing_api", "text")}
    assert ours == {"envwatch", "envwatch.model", *row}
