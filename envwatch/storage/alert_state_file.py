"""The alert state file of a profile, and the lock of the one process on this host that runs the profile's hooks."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from envwatch.storage.private_files import make_private_folder, open_private
from envwatch.storage.regular_files import read_regular
from envwatch.storage.state_file import StateFile, StateFormat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LONGEST_PID: Final = 20


def _replaced(_content: dict[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    return dict(changes)


ALERT_STATE: Final = StateFormat(about="which alerts wait or are open", limit=64 << 20, changed=_replaced)

INCIDENTS_OF_1_0: Final = StateFormat(about="which incidents are open", limit=8 << 20, changed=_replaced)
"""The file of 1.0.0, `incidents.json`: the open incidents of all profiles, which are read once and never written."""


class AlertStateFile(StateFile):
    """The alert state of one profile (`fleet.alert_state`); each change replaces the whole content."""

    format = ALERT_STATE


class HooksLock:
    """The lock that a process holds while it runs the hooks of a profile; the system releases it with the process.

    Args:
        path: of the lock file, which is made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock unless another process has it; return whether this process has it now.

        Raises:
            OSError: if the lock file cannot be used.
        """
        if self._descriptor is not None:
            return True
        make_private_folder(self._path.parent)
        descriptor = open_private(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return True

    @property
    def holder(self) -> str:
        """The number of the process that has the lock; empty if it cannot be read."""
        with suppress(OSError, ValueError):
            return str(int(read_regular(self._path, limit=_LONGEST_PID)))
        return ""

    def release(self) -> None:
        """Let another process take the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
