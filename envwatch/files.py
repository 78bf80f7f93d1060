"""Files on disk: private files, a file for other users, exports, and reads of the user's files. Knows no content.

Private files have mode 0600, in folders of mode 0700, under any umask. The user's files are read only if they are
regular, and never more bytes than a limit: a pipe would block until there is a writer, and a device like `/dev/zero`
has no end.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from envwatch.model.times import in_zone


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


def file_signature(path: Path) -> tuple[int, ...]:
    """Return numbers that differ after each change of a file's content, mode or owner; empty without the file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid)


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


def export_here(data: bytes, suffix: str) -> Path:
    """Write an export into the working directory; see `export`."""
    return export(data, Path.cwd(), suffix, datetime.now(UTC))


def export(data: bytes, folder: Path, suffix: str, now: datetime) -> Path:
    """Write a private file, completely or not at all, and return its path.

    It is named after the local time, followed by a number if that name is taken: no file is overwritten.

    Args:
        data: the content.
        folder: made if it is missing.
        suffix: with its dot: `.json`.
        now: the time for the name, in any zone.

    Raises:
        OSError: if it cannot be written; then no part of it is left.
    """
    make_private_folder(folder)
    stem = f"envwatch-{in_zone(now):%Y%m%d-%H%M%S}"
    number = 1
    while True:
        path = folder / f"{stem}{f'-{number}' if number > 1 else ''}{suffix}"
        try:
            write_private(path, data)
        except FileExistsError:
            number += 1
        else:
            return path
