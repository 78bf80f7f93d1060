"""Lines through real pipes: immediate, ordered, and non-blocking."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from envwatch.cli.arguments import Exit, StopError
from envwatch.cli.streams import LineWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


@contextmanager
def pipe(*, has_reader_to_the_end: bool = True) -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(writing)
        if has_reader_to_the_end:
            os.close(reading)


async def test_a_line_is_in_the_pipe_when_it_is_written() -> None:
    with pipe() as (reading, writing):
        await LineWriter(writing).write([b"one\n", b"two\n"])
        assert os.read(reading, 100) == b"one\ntwo\n"


async def test_a_reader_that_does_not_read_holds_up_nothing_and_gets_everything_in_order() -> None:
    with pipe() as (reading, writing):
        writer = LineWriter(writing)
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


async def test_a_reader_that_never_reads_stops_the_lines_at_a_bound() -> None:
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


async def test_a_reader_that_has_left_is_noticed_without_a_line() -> None:
    with pipe(has_reader_to_the_end=False) as (reading, writing):
        writer = LineWriter(writing)
        writer.check()
        os.close(reading)
        with pytest.raises(StopError) as stop:
            writer.check()
        assert (stop.value.code, str(stop.value)) == (Exit.BROKEN_PIPE, "")
        with pytest.raises(StopError):
            await writer.write([b"x\n"])


async def test_a_reader_that_leaves_ends_the_wait_for_it() -> None:
    with pipe(has_reader_to_the_end=False) as (reading, writing):
        writer = LineWriter(writing)
        await writer.write([b"x" * MIB])
        task = asyncio.create_task(writer.finish())
        await asyncio.sleep(0)
        os.close(reading)
        with pytest.raises(StopError):
            await asyncio.wait_for(task, 5)


async def test_a_file_takes_everything_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    writer = LineWriter(descriptor)
    await writer.write([b"x" * MIB])
    writer.check()
    os.close(descriptor)
    assert path.stat().st_size == MIB


async def test_a_full_disk_is_told() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(StopError) as stop:
            await LineWriter(descriptor).write([b"x\n"])
    finally:
        os.close(descriptor)
    assert stop.value.code is Exit.FAILED
    assert "No space left" in str(stop.value)


async def test_a_pipe_that_its_parent_made_non_blocking_is_no_error() -> None:
    with pipe() as (reading, writing):
        os.set_blocking(writing, False)
        writer = LineWriter(writing)
        await writer.write([b"x" * MIB])
        assert select.select([reading], [], [], 0)[0]
        writer.close()
