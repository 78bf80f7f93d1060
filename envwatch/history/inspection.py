"""Read-only checks of recorded history, for `envwatch doctor`."""

from __future__ import annotations

import fcntl
import os
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from envwatch.files import ProcessLock, open_regular
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.day_reader import DayReader
from envwatch.history.past import DamagedError, GoneError, HistoryError
from envwatch.history.rebuilder import Rebuilder
from envwatch.history.stored import ASIDE, LOCK, SUFFIX, day_paths, profile_and_host, size_of

if TYPE_CHECKING:
    from pathlib import Path


class Inspection(NamedTuple):
    """The history of a profile and server."""

    profile: str
    host: str
    days: int
    bytes: int
    recorder: int | None
    """The recorder's process id; 0 if unknown, None without a recorder."""
    problems: tuple[str, ...]
    advice: tuple[str, ...]


def inspected(history: Path) -> list[Inspection]:
    """Return each history folder's state; raise `OSError` for an unreadable folder.

    Only each newest day is read completely.
    """
    folders = sorted(path for path in history.iterdir() if path.is_dir()) if history.exists() else []
    return [_inspected(folder) for folder in folders]


def _inspected(folder: Path) -> Inspection:
    paths = day_paths(folder)
    problems, advice = list[str](), dict[str, None]()
    for path in paths:
        try:
            with suppress(GoneError):
                _check(path, is_newest=path == paths[-1])
        except DamagedError as error:
            problems.append(f"{path.name}: {error}")
        except HistoryError as error:
            reason, _, how = str(error).partition("; ")
            problems.append(f"{path.name}: {reason}")
            advice |= {how: None} if how else {}
    problems += [f"{path.name}: set aside" for path in sorted(folder.glob(f"*{SUFFIX}{ASIDE}"))]
    profile, host = profile_and_host(folder)
    return Inspection(profile, host, len(paths), size_of(folder), _recorder(folder), tuple(problems), tuple(advice))


def _check(path: Path, *, is_newest: bool) -> None:
    with closing(DayReader(path)) as reader:
        if not is_newest:
            reader.last_numbers()
            return
        reader.quick_check()
        if number := reader.last_numbers().poll:
            Rebuilder(NO_PROFILE).moment(reader, number)


def _recorder(folder: Path) -> int | None:
    with suppress(OSError), os.fdopen(open_regular(folder / LOCK), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(ProcessLock(folder / LOCK).holder or 0)
    return None
