"""A file that programs of other users read, replaced as a whole again and again. Knows nothing of its content."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_MODE: Final = 0o644


class SharedFile:
    """A file of mode 0644, under any umask. A reader finds all of one version or all of another.

    Args:
        path: where it is; links are followed, so that a link stays one.

    Raises:
        OSError: if something else than a regular file is there, such as a device: it would be replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))  # `resolve` raises RuntimeError on a loop before Python 3.13
        # Hidden, and without the suffix by which the readers of a folder choose files.
        self._new = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        self._written: tuple[int, int] | None = None
        with suppress(FileNotFoundError):
            mode = self._path.stat().st_mode
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "It is no regular file")

    def write(self, data: bytes) -> None:
        """Replace the content; the folder must exist.

        Raises:
            OSError: if that cannot be done; the file is as it was.
        """
        self._new.unlink(missing_ok=True)  # a process of that number was killed
        descriptor = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, _MODE)
                file.write(data)
                file.flush()
                status = os.fstat(descriptor)
            self._new.replace(self._path)
        except BaseException:
            self._new.unlink(missing_ok=True)
            raise
        self._written = (status.st_dev, status.st_ino)

    def remove(self) -> None:
        """Remove the file, unless something else is there than what this wrote; errors are ignored."""
        with suppress(OSError):
            status = self._path.lstat()
            if (status.st_dev, status.st_ino) == self._written:
                self._path.unlink()
