"""Private files: mode 0600, in folders of mode 0700, under any umask. Knows nothing of their content."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make a folder and the missing ones above it; existing ones stay as they are.

    Raises:
        OSError: if that cannot be done.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(0o700, exist_ok=True)
        path.chmod(0o700)  # the umask may have taken away the owner's own rights


def open_private(path: Path, *, follows_link: bool = False) -> int:
    """Open a file to append to it, and return its descriptor; missing folders are made.

    Never waits: a pipe without a reader is an error. The file gets mode 0600, unless it belongs to another user or was
    reached by a link.

    Args:
        path: the file.
        follows_link: whether to follow a link at `path`, as the user chose the path; otherwise it is an error.

    Raises:
        OSError: if that cannot be done.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = _open_itself(path, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        if not follows_link:
            raise OSError(errno.ELOOP, "It is a link, which is not followed here") from None
        return os.open(path, flags, 0o600)
    try:
        _make_private(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _open_itself(path: Path, flags: int) -> int:
    """Open a file that is no link; missing folders are made."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        make_private_folder(path.parent)
        return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _make_private(descriptor: int) -> None:
    # Devices like /dev/null and files of other users keep their mode, also for root.
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)


def set_aside(path: Path, name: str) -> Path:
    """Rename a file within its folder, replacing what has the name already, and return the new path.

    A link is renamed itself, and its target stays as it is.

    Raises:
        OSError: if that cannot be done; the file then is as it was.
    """
    aside = path.with_name(name)
    path.replace(aside)
    with suppress(OSError):  # a link, or a file of another user
        descriptor = os.open(aside, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            _make_private(descriptor)
        finally:
            os.close(descriptor)
    return aside


def write_private(path: Path, data: bytes) -> None:
    """Write a new file, completely or not at all.

    Raises:
        FileExistsError: if the path exists, even as a dangling link; it stays as it is.
        OSError: if the file cannot be written; then it does not exist.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # the umask may have taken away the owner's own rights
            file.write(data)
            file.flush()
            os.fsync(descriptor)  # some disks report only now that they are full
    except BaseException:
        path.unlink(missing_ok=True)
        raise
