"""Standard output and standard error: complete lines through pipes, endings, the line of progress, the encoding."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import pty
import select
import struct
import sys
import termios
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.builders import wire_rows
from support.faulty_server import KEY, serving
from support.noisy_program import KEPT
from support.programs import TIMEOUT_S
from support.pty_terminal import Terminal, environment

from envwatch.cli.arguments import Exit, StopError
from envwatch.cli.streams import LONGEST_LINE, LineWriter, ProgressLine, is_utf8, standard_error_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MIB = 1 << 20
ENVWATCH = (sys.executable, "-m", "envwatch")


@pytest.mark.parametrize(
    ("environ", "encoding", "expected"),
    [
        ({}, "utf-8", True),
        ({}, "ascii", False),
        ({"LC_ALL": "C"}, "utf-8", False),
        ({"LC_ALL": "POSIX"}, "UTF8", False),
        ({"LC_ALL": "C.UTF-8"}, "utf-8", True),
        ({"LC_ALL": "de_DE.utf8"}, "utf-8", True),
        ({"LC_ALL": "de_DE.UTF-8@euro"}, "utf-8", True),
        ({"LC_ALL": "de_DE.ISO-8859-1"}, "utf-8", False),
        ({"LC_ALL": "de_DE"}, "utf-8", True),
        ({"LC_ALL": "", "LANG": "C"}, "utf-8", False),
        ({"LC_CTYPE": "C", "LANG": "en_US.UTF-8"}, "utf-8", False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, "utf-8", False),
        ({"LC_CTYPE": "UTF-8"}, "utf-8", True),
        ({"LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, "utf-8", True),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}, "utf-8", True),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, "utf-8", True),
    ],
)
def test_a_stream_is_utf_8_by_its_encoding_and_by_the_locale_behind_pythons(
    environ: dict[str, str], encoding: str, *, expected: bool
) -> None:
    assert is_utf8(io.TextIOWrapper(io.BytesIO(), encoding), environ) is expected


# Lines of `watch`: immediate, ordered, non-blocking.


@contextmanager
def pipe(*, has_reader_to_the_end: bool = True) -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(writing)
        if has_reader_to_the_end:
            os.close(reading)


async def test_lines_are_in_the_pipe_when_they_are_written_and_wait_there_for_a_slow_reader_in_order() -> None:
    with pipe() as (reading, writing):
        writer = LineWriter(writing)
        await writer.write([b"one\n", b"two\n"])
        assert os.read(reading, 100) == b"one\ntwo\n"
        lines = [f"{number}\n".encode() * 100 for number in range(2_000)]
        await asyncio.wait_for(writer.write(lines), 5)  # over a MiB, and the pipe has 64 KiB
        seen = bytearray()

        def read() -> None:
            while len(seen) < sum(map(len, lines)):
                seen.extend(os.read(reading, 65_536))

        thread = threading.Thread(target=read)
        thread.start()
        await asyncio.wait_for(writer.finish(), 20)
        thread.join(20)
        assert seen == b"".join(lines)


async def test_a_reader_without_reading_stops_the_lines_at_a_bound() -> None:
    with pipe() as (_, writing):
        writer, line = LineWriter(writing), b"x" * MIB + b"\n"
        taken = 0

        async def write() -> None:
            nonlocal taken
            for taken in range(1, 100):  # noqa: B007
                await writer.write([line])

        task = asyncio.create_task(write())
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert not task.done()
        assert 3 <= taken <= 6
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        writer.close()


async def test_an_absent_reader_is_noticed_without_a_line() -> None:
    with pipe(has_reader_to_the_end=False) as (reading, writing):
        writer = LineWriter(writing)
        writer.check()
        os.close(reading)
        with pytest.raises(StopError) as stop:
            writer.check()
        assert (stop.value.code, str(stop.value)) == (Exit.BROKEN_PIPE, "")
        with pytest.raises(StopError):
            await writer.write([b"x\n"])


async def test_a_leaving_reader_ends_the_wait_for_the_reader() -> None:
    with pipe(has_reader_to_the_end=False) as (reading, writing):
        writer = LineWriter(writing)
        await writer.write([b"x" * MIB])
        task = asyncio.create_task(writer.finish())
        await asyncio.sleep(0)
        os.close(reading)
        with pytest.raises(StopError):
            await asyncio.wait_for(task, 5)


async def test_a_file_takes_everything_at_once_and_a_full_disk_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    writer = LineWriter(descriptor)
    await writer.write([b"x" * MIB])
    writer.check()
    os.close(descriptor)
    assert path.stat().st_size == MIB
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StopError, match="No space left") as stop:
        await LineWriter(descriptor).write([b"x\n"])
    os.close(descriptor)
    assert stop.value.code is Exit.FAILED


async def test_a_non_blocking_pipe_of_the_parent_is_no_error() -> None:
    with pipe() as (reading, writing):
        os.set_blocking(writing, False)
        writer = LineWriter(writing)
        await writer.write([b"x" * MIB])
        assert select.select([reading], [], [], 0)[0]
        writer.close()


# Endings of a program's output.


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(wire_rows(130)) as server:
        yield server.url


@pytest.fixture
def environ(url: str, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=url)


@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_a_reader_who_leaves_in_the_middle_is_noticed(environ: dict[str, str], buffering: dict[str, str]) -> None:
    with programs.piped([*ENVWATCH, "list", "-o", "json"], environ | buffering) as (process, out, err):
        assert out.read(1) == b"{"
        out.close()
        assert err.read() == b""
        assert process.wait(TIMEOUT_S) == 141


@contextmanager
def listing_into_full_pipe(environ: Mapping[str, str], errors: Path | None) -> Iterator[tuple[programs.Program, int]]:
    """Run a listing that writes to a full non-blocking pipe, as parents that run Node make pipes."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with Path(os.devnull).open("rb") as stdin, (errors or Path(os.devnull)).open("wb") as err:
        streams = (stdin.fileno(), theirs, theirs if errors is None else err.fileno())
        process = programs.start([*ENVWATCH, "list", "-o", "json"], environ, streams)
    os.close(theirs)
    try:
        _wait_until_full(ours)
        yield process, ours
    finally:
        process.kill()
        process.wait()


def _wait_until_full(pipe: int) -> None:
    size = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    deadline = time.monotonic() + TIMEOUT_S
    select.select([pipe], [], [], TIMEOUT_S)
    while struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0] < size:
        assert time.monotonic() < deadline


def test_a_non_blocking_pipe_gets_the_whole_listing(environ: dict[str, str]) -> None:
    with listing_into_full_pipe(environ, None) as (process, ours):
        with os.fdopen(ours, "rb") as reader:
            document, _ = json.JSONDecoder().raw_decode(reader.read().decode())
        assert (process.wait(TIMEOUT_S), len(document["environments"])) == (0, 130)


def test_a_reader_who_leaves_a_non_blocking_pipe_is_noticed(environ: dict[str, str], tmp_path: Path) -> None:
    with listing_into_full_pipe(environ, tmp_path / "errors") as (process, ours):
        os.close(ours)
        assert process.wait(TIMEOUT_S) == 141
    assert (tmp_path / "errors").read_bytes() == b""


@pytest.mark.parametrize("arguments", [("list",), ("--version",), ("demo", "--serve", "--size=1")])
def test_a_full_disk_under_standard_output_is_an_error(environ: dict[str, str], arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        ended = programs.run([*ENVWATCH, *arguments], environ, stdout=full.fileno())
    message = b"envwatch: cannot write to standard output: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, message)


def test_a_closed_standard_output_is_an_error(environ: dict[str, str]) -> None:
    ended = programs.run(["sh", "-c", 'exec "$0" "$@" >&-', *ENVWATCH, "list"], environ)
    assert (ended.returncode, ended.stderr) == (1, b"envwatch: standard output is closed\n")


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_an_unusable_standard_error_changes_no_exit_code(environ: dict[str, str], redirection: str) -> None:
    command = ["sh", "-c", f'exec "$0" "$@" {redirection}', *ENVWATCH, "list"]
    ended = programs.run(command, environ)
    assert (ended.returncode, ended.stdout.count(b"\n")) == (0, 131)
    assert programs.run(command, environ | {"LETTA_API_KEY": "short"}).returncode == 2


# The line of progress on standard error.


@contextmanager
def terminal_as_standard_error(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as stderr:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "__stderr__", stderr)
        yield master
        monkeypatch.undo()


def test_the_line_is_shown_and_erased_and_a_closed_terminal_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with terminal_as_standard_error(monkeypatch) as master:
        with ProgressLine(after_s=3600) as line:
            line.show("over soon")
        with ProgressLine(after_s=0) as line:
            line.show("waiting")
            line.show("within the same second")
        expected, received = b"\rwaiting\r       \r", b""
        while len(received) < len(expected):  # pieces may be read separately
            received += os.read(master, 100)
        assert received == expected
        with ProgressLine(after_s=0) as line:
            line.show("waiting")
            os.close(master)
        with ProgressLine(after_s=0) as line:
            line.show("waiting")


def test_no_line_is_written_to_a_standard_error_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stderr)
    with ProgressLine(after_s=0) as line:
        line.show("waiting")
    assert stderr.getvalue() == ""


# Standard error while the dashboard has the terminal.

NOISY = (sys.executable, str(Path(__file__).parents[1] / "support" / "noisy_program.py"))
SHOWN = "● [0-9,]+ "
SCREEN_TAKEN, SCREEN_GIVEN_BACK = b"\x1b[?1049h", b"\x1b[?1049l"


def test_what_others_write_to_standard_error_is_in_the_log_and_not_on_the_screen(tmp_path: Path) -> None:
    log = tmp_path / "polls.log"
    with Terminal([*NOISY, "demo", "--no-history", "--log-file", str(log)], environment(tmp_path)) as terminal:
        terminal.wait_for(SHOWN)
        terminal.wait_until(lambda: all(noise in log.read_text() for noise in KEPT), f"{KEPT} in the log")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    before, taken, during = terminal.received.partition(SCREEN_TAKEN)
    during, given_back, _ = during.partition(SCREEN_GIVEN_BACK)
    assert taken
    assert given_back
    assert b"noise" in before  # proves that the test would find the text
    assert b"noise" not in during
    assert " warning standard error: " in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("switch", [pytest.param("PYTHONASYNCIODEBUG", marks=pytest.mark.slow), "PYTHONDEVMODE"])
def test_python_s_debugging_writes_nothing_to_the_terminal(tmp_path: Path, switch: str) -> None:
    environ = environment(tmp_path, **{switch: "1"})
    with Terminal([*ENVWATCH, "demo", "--no-history", "--size", "3000"], environ) as terminal:
        terminal.wait_for(SHOWN)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    assert b"Executing" not in terminal.received
    assert b"Warning" not in terminal.received


def test_a_report_of_a_crash_still_reaches_the_terminal(tmp_path: Path) -> None:
    script = (
        "import os, sys; from envwatch.cli.streams import print_error\n"
        "from envwatch.cli.streams import standard_error_to\n"
        "with standard_error_to(lambda line: None):\n"
        "    os.write(2, b'from a library\\n'); print_error('from envwatch')\n"
        "os.write(2, b'from the time after\\n')"
    )
    done = programs.run([sys.executable, "-c", script], environment(tmp_path))
    assert (done.returncode, done.stderr) == (0, b"from envwatch\nfrom the time after\n")


def test_lines_are_passed_on_whole_and_in_order_and_long_ones_in_parts(
    capfd: pytest.CaptureFixture[str],
) -> None:
    lines: list[str] = []
    with standard_error_to(lines.append):
        os.write(2, b"one, ")
        os.write(2, b"two\n\nthree \xff\n" + b"x" * 5000)
    assert lines[:2] == ["one, two", "three \ufffd"]
    assert "".join(lines[2:]) == "x" * 5000
    assert max(map(len, lines)) <= LONGEST_LINE
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
