"""A pipe, a device, a folder or a huge file in place of an envwatch file: one line at once, nothing read."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.pty_terminal import environment

from envwatch.files import open_regular, read_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"

MEMORY = 1 << 30
"""Bytes of address space: several times envwatch's need, half of the huge file."""


def pipe(folder: Path) -> Path:
    path = folder / "odd"
    os.mkfifo(path, 0o600)
    return path


def subfolder(folder: Path) -> Path:
    path = folder / "odd"
    path.mkdir()
    return path


def huge(folder: Path) -> Path:
    path = folder / "odd"
    path.touch(0o600)
    os.truncate(path, 2 << 30)
    return path


ODD: Mapping[str, tuple[Callable[[Path], Path], str]] = {
    "pipe": (pipe, "Not a regular file"),
    "device": (lambda _: Path("/dev/zero"), "Not a regular file"),
    "folder": (subfolder, "Is a directory"),
    "huge": (huge, "Larger than 1 MiB"),
}


def run(home: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    done = programs.run([sys.executable, "-m", "envwatch", *arguments], environment(home, **environ), memory=MEMORY)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("command", [("list",), ("config", "validate")], ids=lambda words: words[-1])
def test_an_odd_file_as_configuration_is_one_line_and_exit_2(
    kind: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    make, why = ODD[kind]
    path = make(tmp_path)
    line = f"envwatch: {path}: cannot be read: {why}\n"
    assert run(tmp_path, *command, "--config", str(path), LETTA_API_KEY=KEY) == (2, line)
    assert run(tmp_path, *command, ENVWATCH_CONFIG=str(path), LETTA_API_KEY=KEY) == (2, line)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_file_as_login_is_one_line_and_exit_2(kind: str, tmp_path: Path) -> None:
    make, why = ODD[kind]
    (tmp_path / ".letta").mkdir()
    (tmp_path / ".letta" / "settings.json").symlink_to(make(tmp_path))
    line = f"envwatch: ~/.letta/settings.json cannot be read: {why}; `export LETTA_API_KEY=…` instead\n"
    assert run(tmp_path, "list") == (2, line)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_file_of_certificates_is_one_line_and_exit_2(kind: str, tmp_path: Path) -> None:
    make, why = ODD[kind]
    path = make(tmp_path)
    ended = run(tmp_path, "list", LETTA_API_KEY=KEY, SSL_CERT_FILE=str(path))
    assert ended == (2, f"envwatch: SSL_CERT_FILE names {path}: {why.replace('1 MiB', '16 MiB')}\n")


def test_a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096)
    assert read_regular(path, limit=4096) == b"x" * 4096
    path.write_bytes(b"x" * 4097)
    with pytest.raises(OSError, match="Larger than 4 KiB"):
        read_regular(path, limit=4096)


def test_a_refused_file_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    path = pipe(tmp_path)
    before = sorted(os.listdir("/dev/fd"))  # noqa: PTH208 - counting, with no paths to make
    for _ in range(3):
        with pytest.raises(OSError, match="Not a regular file"):
            open_regular(path)
    assert sorted(os.listdir("/dev/fd")) == before  # noqa: PTH208
