"""Reads files of the user: only regular ones, and never more bytes than a limit.

A pipe would block until there is a writer, and a device like `/dev/zero` has no end: both are refused. Knows nothing of
the content.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_regular(path: Path, *, limit: int | None = None) -> int:
    """Open a regular file for reading, and return its descriptor; links are followed.

    Args:
        path: the file.
        limit: its size in bytes at most; None for any.

    Raises:
        OSError: if it cannot be opened, is no regular file, or is larger; `strerror` says which.
    """
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check(os.fstat(descriptor), limit)  # not of the path, which may lead elsewhere by now
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, *, limit: int) -> bytes:
    """Return the content of a regular file; links are followed.

    Raises:
        OSError: if it cannot be read, is no regular file, or is larger than the limit; `strerror` says which.
    """
    with os.fdopen(open_regular(path, limit=limit), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:  # it has grown meanwhile, or is one of /proc, which report size 0
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
