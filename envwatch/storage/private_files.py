"""Files of our own that nobody else may read: mode 0600, in folders of mode 0700, whatever the umask says.

Owns how such files are made. Knows nothing of what stands in them.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make a folder and whatever is missing above it; what is there already stays as it is.

    Raises:
        OSError: if that cannot be done.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(0o700, exist_ok=True)
        place.chmod(0o700)  # a umask may have taken away what we need ourselves


def open_private(path: Path, *, follows_link: bool = False) -> int:
    """Open a file to write at its end, and return its descriptor; folders that are missing are made.

    It never waits: a pipe that nobody reads is an error like any other. A file that is made, or that belongs to us and
    stands there itself, gets mode 0600. What a link leads to, and a file of another user, keep their mode.

    Args:
        path: the file.
        follows_link: whether a link in its place is followed, since the user named it; one in place of a file whose
            name envwatch chose is an error.

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
    """Open a file that is no link, in folders that are made if they are missing."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        make_private_folder(path.parent)
        return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _make_private(descriptor: int) -> None:
    # A device like /dev/null belongs to everybody, and another user's file to that user, even if we are root.
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)


def set_aside(path: Path, name: str) -> Path:
    """Give a file another name in its folder, for its owner to look at, and return where it is now.

    What has that name already makes room, so that there is one such file at most, the newest. A link is moved itself,
    and what it leads to stays as it is.

    Raises:
        OSError: if that cannot be done; the file then is as it was.
    """
    aside = path.with_name(name)
    path.replace(aside)
    with suppress(OSError):  # a link says so, and a file that we may not read is nobody else's business either
        descriptor = os.open(aside, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            _make_private(descriptor)
        finally:
            os.close(descriptor)
    return aside


def write_private(path: Path, data: bytes) -> None:
    """Write a file where there is none yet, all of it or nothing.

    Raises:
        FileExistsError: if something is there already, be it a link that leads nowhere; it stays as it is.
        OSError: if it cannot be written; then there is no such file.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # a umask may have taken away what its owner needs
            file.write(data)
            file.flush()
            os.fsync(descriptor)  # some disks say only now that they are full
    except BaseException:
        path.unlink(missing_ok=True)
        raise
