"""Private files, shared files, exports, and reads of user files.

Private files have mode 0600, in folders of mode 0700, under any umask. User files must be regular and limited: a pipe
would block, and `/dev/zero` has no end.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import stat
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from envwatch.model.text import clean
from envwatch.model.times import in_zone

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_private_folder(folder: Path) -> None:
    """Make a folder and missing parents; existing folders stay unchanged."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(0o700, exist_ok=True)
        path.chmod(0o700)  # a umask can remove the owner's rights


def open_private(path: Path, *, follows_link: bool = False) -> int:
    """Open a file for appending, with missing folders, and return the descriptor.

    The mode becomes 0600, except for links, devices and files of other users. `follows_link` allows a link chosen by
    the user.

    Raises:
        OSError: on failure, for a forbidden link, or for a pipe without a reader.
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


@contextmanager
def locked(path: Path, *, follows_link: bool = False) -> Iterator[int]:
    """Open a private file, and hold its lock."""
    descriptor = open_private(path, follows_link=follows_link)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def append(descriptor: int, data: bytes) -> None:
    """Append to a locked file, completely or not at all."""
    size = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except BaseException:
        os.ftruncate(descriptor, size)
        raise


def _open_itself(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        make_private_folder(path.parent)
        return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _make_private(descriptor: int) -> None:
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)


def file_signature(path: Path) -> tuple[int, ...]:
    """Return numbers that change with content, mode or owner; empty without the file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid)


def set_aside(path: Path, name: str) -> Path:
    """Rename a file or link, over any existing file, and return the new path."""
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
    """Write a new private file, completely or not at all.

    Raises:
        FileExistsError: if the path exists, even as a dangling link.
    """
    _write_new(path, data, 0o600, is_synced=True)


def _write_new(path: Path, data: bytes, mode: int, *, is_synced: bool) -> os.stat_result:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            if is_synced:
                os.fsync(descriptor)  # some disks report only now that they are full
            return os.fstat(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def open_regular(path: Path, *, limit: int | None = None) -> int:
    """Open a regular file, also behind a link, and return the descriptor.

    Raises:
        OSError: if the file is unreadable, not regular or larger than `limit` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check(os.fstat(descriptor), limit)  # not the path, which may lead elsewhere by now
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, *, limit: int) -> bytes:
    """Return the content of a file opened by `open_regular`."""
    with os.fdopen(open_regular(path, limit=limit), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:  # grown meanwhile, or in /proc, where sizes are 0
        raise _too_large(limit)
    return content


def read_secret(path: Path, size: int, noun: str, *, limit: int | None = None) -> tuple[bytes, tuple[str, str] | None]:
    """Return at most `size` bytes of a file, and the problem and remedy if other users can read the file."""
    with os.fdopen(open_regular(path, limit=limit), "rb") as file:
        status, content = os.fstat(file.fileno()), file.read(size)
    if status.st_uid != os.geteuid():
        return content, ("belongs to another user", f"make {noun} of your own")
    if status.st_mode & 0o077:
        return content, ("can be read by others", f"`chmod 600 {clean(shlex.quote(str(path)))}`")
    return content, None


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


class ProcessLock:
    """A lock file with the holder's process number; the system releases the lock with the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take a free lock, without waiting; return whether this process has the lock.

        A lock with a deleted file is taken again. An unusable lock file raises OSError.
        """
        if self._descriptor is not None:
            if self._is_in_place(self._descriptor):
                return True
            self.release()
        descriptor = open_private(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._descriptor = descriptor
        with suppress(OSError):  # a full disk; the number is for people only
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        return True

    @property
    def is_held(self) -> bool:
        """Whether this process holds the lock."""
        return self._descriptor is not None

    @property
    def holder(self) -> str:
        """The holder's process number; empty if unreadable."""
        with suppress(OSError, ValueError):
            return str(int(read_regular(self._path, limit=20)))
        return ""

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_in_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.lstat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False


class SharedFile:
    """An atomically replaced file of mode 0644, under any umask; a link stays a link.

    Raises:
        OSError: for devices and other special files.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))  # `resolve` raises RuntimeError on a loop before Python 3.13
        # Readers of the folder overlook a hidden file with a different suffix.
        self._new = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        self._written: tuple[int, int] | None = None
        with suppress(FileNotFoundError):
            mode = self._path.stat().st_mode
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "It is no regular file")

    def write(self, data: bytes) -> None:
        """Replace the content, completely or not at all; the folder must exist."""
        self._new.unlink(missing_ok=True)
        status = _write_new(self._new, data, 0o644, is_synced=False)
        try:
            self._new.replace(self._path)
        except BaseException:
            self._new.unlink(missing_ok=True)
            raise
        self._written = (status.st_dev, status.st_ino)

    def remove(self) -> None:
        """Remove the file if written here; errors are ignored."""
        with suppress(OSError):
            status = self._path.lstat()
            if (status.st_dev, status.st_ino) == self._written:
                self._path.unlink()


def export_here(data: bytes, suffix: str) -> Path:
    """Export to the working directory."""
    return export(data, Path.cwd(), suffix, datetime.now(UTC))


def export(data: bytes, folder: Path, suffix: str, now: datetime) -> Path:
    """Write a private file named by the local time, and return the path; `suffix` includes the dot."""
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
