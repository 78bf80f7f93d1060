"""The line of progress on standard error: without a terminal, and after the terminal is gone."""

from __future__ import annotations

import io
import os
import pty
import sys
from typing import TYPE_CHECKING

from envwatch.cli.streams import ProgressLine

if TYPE_CHECKING:
    import pytest


def test_the_line_is_shown_and_erased_and_a_terminal_that_is_gone_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as stderr:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "__stderr__", stderr)
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
        monkeypatch.undo()


def test_nothing_is_written_where_standard_error_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stderr)
    with ProgressLine(after_s=0) as line:
        line.show("waiting")
    assert stderr.getvalue() == ""


def test_nothing_is_shown_of_what_is_over_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as stderr:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "__stderr__", stderr)
        with ProgressLine(after_s=3600) as line:
            line.show("waiting")
        with ProgressLine(after_s=0) as line:
            line.show("later")
        monkeypatch.undo()
    assert os.read(master, 6) == b"\rlater"
    os.close(master)
