"""The recorded past of the transcripts, by the name after `history` in a transcript."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from support.builders import failed, listed
from support.recording import record
from support.transcript_fleets import HOUR, MINUTE, STARTED, down, healthy, up

from envwatch.history.stored import Retention, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.outcome import Cause
from envwatch.model.page import parse_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.model.outcome import Outcome

_EVERY_MS: Final = 10 * MINUTE
_STATE: Final = Path(".local/state/envwatch")


def _rows(at: float) -> list[dict[str, Any]]:
    """Return the night's rows: losses of an hour and of the last minutes, a mode, and a row that leaves."""
    before_h = (STARTED - at) / HOUR
    rows = healthy(at)
    if 5 < before_h <= 6:
        rows[1] = down("web-2", STARTED - 6 * HOUR - MINUTE)
    if before_h <= 4:
        rows[2]["currentMode"] = "unrestricted"
    rows.append(down("build-1", STARTED - HOUR / 2 - MINUTE) if before_h <= 0.5 else up("build-1", at, podId="pod-2"))
    if before_h > 2:
        rows.append(up("cache-1", at, podId=None))
    return rows


def _night(first_h: float, last_h: float) -> Iterator[Outcome]:
    """Yield polls between two distances from the start; polls fail for half an hour."""
    at = STARTED - first_h * HOUR
    while at <= STARTED - last_h * HOUR:
        if 3 < (STARTED - at) / HOUR <= 3.5:
            yield failed(Cause.TIMEOUT, at)
        else:
            rows = [parse_environment(row) for row in _rows(at)]
            yield listed(rows, at, interval=timedelta(milliseconds=_EVERY_MS))
        at += _EVERY_MS


@cache
def _recorded_night() -> Path:
    """Return a state folder with a history in two runs, with a gap of an hour."""
    state = Path(tempfile.mkdtemp(prefix="envwatch-night-"))
    atexit.register(shutil.rmtree, state)
    folder = history_folder(state, "default", "127.0.0.1:8283")
    history = None
    for hours in ((12, 9), (8, 0.1)):
        writer = FolderWriter(folder, Retention())
        history = record(writer, [*_night(*hours)], history)
        writer.close()
    return state


def write_past(name: str, home: Path) -> None:
    """Put a past into a home."""
    assert name == "of a night", name
    shutil.copytree(_recorded_night(), home / _STATE, dirs_exist_ok=True)
