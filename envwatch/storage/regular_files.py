"""Reading files that a user names or that stand in a user's folders: regular ones only, never more than a limit.

Owns how such a file is opened. A pipe would hold us until somebody writes to it, and a device like `/dev/zero` has no
end: neither is read. Knows nothing of what stands in a file, nor of files that envwatch writes.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_regular(path: Path, *, limit: int | None = None) -> int:
    """Open a regular file to read it, and return its descriptor; links are followed.

    Args:
        path: the file.
        limit: bytes that it may have; None for any number.

    Raises:
        OSError: if that cannot be done, or it is anything else, or larger; `strerror` says which.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check(os.fstat(descriptor), limit)  # of what was opened, not of what has that name by now
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, *, limit: int) -> bytes:
    """Return what stands in a regular file; links are followed.

    Raises:
        OSError: if it cannot be read, is anything else, or has more bytes than the limit; `strerror` says which.
    """
    with os.fdopen(open_regular(path, limit=limit), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:  # it has grown meanwhile, or is one of /proc, whose size is always 0
        raise _too_large(limit)
    return content


def _check(status: os.stat_result, limit: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    if limit is not None and status.st_size > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> OSError:
    size = f"{limit >> 20} MiB" if limit >> 20 else f"{limit >> 10} KiB"
    return OSError(errno.EFBIG, f"Larger than {size}")
