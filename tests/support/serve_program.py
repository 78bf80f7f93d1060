"""`envwatch serve` as a program, with required files."""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from support import programs
from support.demo_client import Answer, Client
from support.programs import TIMEOUT_S
from support.pty_terminal import environment

from envwatch.demo.server import Server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

ENVWATCH = (sys.executable, "-m", "envwatch")
TOKEN = "token-of-ann-0123456789"
LISTING = "/v1/environments"
UPSTREAM_KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"


def demo_server() -> Server:
    return Server(60, key=UPSTREAM_KEY)


def environ_with_tokens(demo: Server, home: Path) -> dict[str, str]:
    tokens_file(home)
    return upstream(home, demo.base_url, UPSTREAM_KEY)


def tokens_file(home: Path, content: str = f"ann {TOKEN}\n", mode: int = 0o600) -> Path:
    path = home / ".config" / "envwatch" / "serve-tokens"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


def upstream(home: Path, url: str, key: str, **more: str) -> dict[str, str]:
    return environment(home, LETTA_BASE_URL=url, LETTA_API_KEY=key, **more)


def run(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return programs.run([*ENVWATCH, *arguments], environ)


@dataclass
class ServeProgram:
    process: programs.Program
    urls: list[str]
    """Values of LETTA_BASE_URL for viewers."""
    errors: Path

    @property
    def said(self) -> str:
        return self.errors.read_text()

    @property
    def port(self) -> int:
        return int(self.urls[0].split("/")[2].rpartition(":")[2])

    def ask(
        self, target: str = LISTING, token: str | None = TOKEN, method: str = "GET", body: bytes | None = None
    ) -> Answer:
        with Client(f"http://127.0.0.1:{self.port}", token) as client:
            return client.ask(target, method=method, body=body, **{"Content-Type": "application/json"})

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)


@contextmanager
def serve_program(environ: Mapping[str, str], home: Path, *arguments: str, profiles: int = 1) -> Iterator[ServeProgram]:
    """Start the program on a free port, and wait until the port is open."""
    reading, writing = os.pipe()
    errors = home / f"errors-{reading}"
    with Path(os.devnull).open("rb") as stdin, errors.open("wb") as err:
        command = [*ENVWATCH, "serve", "--bind", "127.0.0.1:0", "--interval", "1s", *arguments]
        process = programs.start(command, environ, (stdin.fileno(), writing, err.fileno()), folder=home)
    os.close(writing)
    try:
        written = b""
        while written.count(b"\n") < profiles:
            assert select.select([reading], [], [], TIMEOUT_S)[0], "it does not listen in time"
            data = os.read(reading, 4096)
            assert data, errors.read_text()
            written += data
        lines = written.decode().splitlines()
        yield ServeProgram(process, [line.removeprefix("export LETTA_BASE_URL=") for line in lines], errors)
    finally:
        os.close(reading)
        process.kill()
        process.wait()
