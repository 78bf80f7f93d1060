"""The recipe "A way to deliver messages" of docs/architecture.md, followed in a copy of the project."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.documents import blocks, page, section
from support.project_copy import changed_files, copy_project, environ_in, run_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RECIPE = "A way to deliver messages"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("copy")
    copy_project(copy)
    module, line, entry = [block.text for block in blocks(section(page("architecture.md"), RECIPE))]
    (copy / "envwatch/hooks/syslog.py").write_text(module, encoding="utf-8")
    path = copy / "envwatch/config/hooks.py"
    text = path.read_text(encoding="utf-8").replace("\nfrom envwatch.hooks.rules", f"\n{line}from envwatch.hooks.rules")
    path.write_text(re.sub(r"(DELIVERIES: .*)\)\n", rf"\1, {entry.strip()})\n", text), encoding="utf-8")
    assert changed_files(copy) == {"envwatch/config/hooks.py"}
    return copy


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        yield server


def environ_with(copy: Path, folder: Path, hook: str) -> Mapping[str, str]:
    path = folder / "config.toml"
    path.write_text(f"[[hooks]]\n{hook}\n", encoding="utf-8")
    return environ_in(copy, ENVWATCH_CONFIG=str(path))


def test_a_new_delivery_is_accepted_shown_sent_and_documented(
    copy: Path, tmp_path: Path, server: socket.socket
) -> None:
    address = "{}:{}".format(*server.getsockname())
    environ = environ_with(copy, tmp_path, f'syslog = "{address}"')
    run_in(copy, "-m", "envwatch", "config", "validate", environ=environ)
    assert (
        f"incident: syslog at {address}" in run_in(copy, "-m", "envwatch", "config", "show", environ=environ).decode()
    )
    assert b"ok      opened and resolved" in run_in(copy, "-m", "envwatch", "hooks", "test", environ=environ)
    opened, resolved = server.recv(4096), server.recv(4096)
    assert opened.startswith(b"<27>1 - - envwatch - - - test of envwatch hooks went offline")
    assert resolved.startswith(b"<30>1 - - envwatch - - - resolved after 1m")
    run_in(copy, "docs/generate.py")
    assert "\n| `syslog` | Address of a syslog server" in (copy / "docs/without-a-screen.md").read_text(
        encoding="utf-8"
    )


def test_mistakes_with_a_new_delivery_are_named(copy: Path, tmp_path: Path) -> None:
    for hook, why in (
        ("", "needs what takes its messages: command, url, url_env, apprise or syslog"),
        ('syslog = "a:1"\ncommand = ["b"]', "has command and syslog, and can have one of them only"),
        ('syslog = "a:1"\nkey_env = "K"', "has key_env, which goes with url only"),
        ("syslog = 3", "syslog must be a text of one line"),
    ):
        command = [sys.executable, "-m", "envwatch", "config", "validate"]
        ended = subprocess.run(
            command, env=environ_with(copy, tmp_path, hook), cwd=copy, capture_output=True, check=False
        )
        assert why in ended.stderr.decode()
