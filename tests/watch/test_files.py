"""Files: exports, files for other programs, locks of processes, and refusals of everything but a regular file.

A pipe, a device, a folder or a huge file in place of an envwatch file is one line at once, with nothing read.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import programs
from support.pty_terminal import environment

from envwatch.files import ProcessLock, SharedFile, export, read_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


AT = datetime(2026, 11, 24, 17, 18, 30).astimezone()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("suffix", [".json", ".csv", ".svg"])
@pytest.mark.parametrize("zone", [None, UTC, timezone(timedelta(hours=-9, minutes=-30))])
def test_an_export_is_named_after_the_local_time_and_its_format(
    tmp_path: Path, suffix: str, zone: timezone | None
) -> None:
    path = export(b"\x00some\n", tmp_path, suffix, AT.astimezone(zone))
    assert path == tmp_path / f"envwatch-20261124-171830{suffix}"
    assert path.read_bytes() == b"\x00some\n"


def test_no_file_is_ever_overwritten(tmp_path: Path) -> None:
    paths = [export(str(number).encode(), tmp_path, ".json", AT) for number in range(3)]
    assert [path.name for path in paths] == [f"envwatch-20261124-171830{behind}.json" for behind in ("", "-2", "-3")]
    assert [path.read_bytes() for path in paths] == [b"0", b"1", b"2"]
    assert export(b"", tmp_path, ".csv", AT).name == "envwatch-20261124-171830.csv"
    assert export(b"", tmp_path, ".json", AT + timedelta(seconds=1)).name == "envwatch-20261124-171831.json"


def test_an_existing_path_of_this_name_is_left_alone(tmp_path: Path) -> None:
    taken = tmp_path / "envwatch-20261124-171830.json"
    taken.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "envwatch-20261124-171830-2.json").mkdir()
    assert export(b"x", tmp_path, ".json", AT).name == "envwatch-20261124-171830-3.json"
    assert not taken.exists()


def test_many_at_once_get_a_file_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda number: export(str(number).encode(), tmp_path, ".csv", AT), range(40)))
    assert [path.read_bytes() for path in paths] == [str(number).encode() for number in range(40)]
    assert len(names(tmp_path)) == 40


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_an_export_is_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = export(b"x", tmp_path / "new" / "folder", ".json", AT)
    finally:
        os.umask(before)
    assert (mode(path), mode(path.parent), mode(path.parent.parent)) == (0o600, 0o700, 0o700)


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    script = (
        "import sys, resource, datetime, pathlib\n"
        "from envwatch.files import export\n"
        "folder, size, now = pathlib.Path(sys.argv[1]), int(sys.argv[2]), datetime.datetime.now().astimezone()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: export(bytes(size), folder, '.json', now)\n"
        "except OSError as error: sys.exit(error.strerror)"
    )
    fits, too_much = (
        subprocess.run(
            [sys.executable, "-c", script, tmp_path / size, size], capture_output=True, text=True, check=False
        )
        for size in ("100000", "100001")
    )
    assert (fits.returncode, fits.stderr) == (0, "")
    assert (too_much.returncode, too_much.stderr) == (1, "File too large\n")
    assert len(names(tmp_path / "100000")) == 1
    assert names(tmp_path / "100001") == []


def test_a_place_where_no_file_can_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "nowhere"):
        with pytest.raises(OSError, match=str(tmp_path)):
            export(b"x", folder, ".json", AT)
    assert names(tmp_path) == ["file", "nowhere"]


@pytest.fixture
def strict_umask() -> object:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_everybody_may_read_a_shared_file_under_any_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    path.write_bytes(b"older")
    path.chmod(0o600)
    SharedFile(path).write(b"newer")
    assert path.read_bytes() == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_reader_finds_all_of_the_opened_version(tmp_path: Path) -> None:
    file = SharedFile(tmp_path / "a.prom")
    file.write(b"a" * 100_000)
    with (tmp_path / "a.prom").open("rb", buffering=0) as reader:
        assert reader.read(10) == b"a" * 10
        file.write(b"b")
        assert reader.read() == b"a" * 99_990
    assert os.listdir(tmp_path) == ["a.prom"]  # noqa: PTH208  hidden ones too


def test_an_unfinished_file_has_no_name_for_a_collector(tmp_path: Path) -> None:
    file, path = SharedFile(tmp_path / "a.prom"), tmp_path / "a.prom"
    path.mkdir()  # makes the last step fail
    (path / "in the way").touch()
    seen: list[str] = []
    with pytest.raises(OSError):  # noqa: PT011  which one depends on the system
        file.write(b"x")
    seen += os.listdir(tmp_path)  # noqa: PTH208
    assert seen == ["a.prom"]


def test_a_link_stays_a_link_and_anything_but_a_file_is_refused_before_a_write(tmp_path: Path) -> None:
    (tmp_path / "link.prom").symlink_to(tmp_path / "target.prom")
    SharedFile(tmp_path / "link.prom").write(b"x")
    assert (tmp_path / "link.prom").is_symlink()
    assert (tmp_path / "target.prom").read_bytes() == b"x"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to(os.devnull)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, why in (("pipe", None), ("device", None), (".", None), ("loop", os.strerror(errno.ELOOP))):
        with pytest.raises(OSError, match=why or "It is no regular file"):
            SharedFile(tmp_path / name)


def test_a_shared_file_removes_its_own_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    first, second = SharedFile(path), SharedFile(path)
    first.remove()
    first.write(b"first")
    second.write(b"second")
    first.remove()
    assert path.read_bytes() == b"second"
    second.remove()
    second.remove()
    assert not path.exists()


def test_the_rest_of_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    rest = tmp_path / f".a.prom.{os.getpid()}.new"
    rest.write_bytes(b"half")
    SharedFile(tmp_path / "a.prom").write(b"whole")
    assert (tmp_path / "a.prom").read_bytes() == b"whole"
    assert not rest.exists()


KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"

MEMORY = 1 << 30
"""Bytes of address space: several times envwatch's need, half of the huge file."""


def pipe(folder: Path) -> Path:
    path = folder / "odd"
    os.mkfifo(path, 0o600)
    return path


def subfolder(folder: Path) -> Path:
    path = folder / "odd"
    path.mkdir()
    return path


def huge(folder: Path) -> Path:
    path = folder / "odd"
    path.touch(0o600)
    os.truncate(path, 2 << 30)
    return path


ODD: Mapping[str, tuple[Callable[[Path], Path], str]] = {
    "pipe": (pipe, "Not a regular file"),
    "device": (lambda _: Path("/dev/zero"), "Not a regular file"),
    "folder": (subfolder, "Is a directory"),
    "huge": (huge, "Larger than 1 MiB"),
}


def run(home: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    done = programs.run([sys.executable, "-m", "envwatch", *arguments], environment(home, **environ), memory=MEMORY)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_file_is_refused_unread_and_leaves_no_descriptor_behind(kind: str, tmp_path: Path) -> None:
    make, why = ODD[kind]
    path = make(tmp_path)
    before = sorted(os.listdir("/dev/fd"))  # noqa: PTH208 - counting, with no paths to make
    with pytest.raises(OSError, match=why):
        read_regular(path, limit=1 << 20)
    assert sorted(os.listdir("/dev/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize(
    ("command", "kind", "is_option"),
    [(("list",), "pipe", True), (("list",), "huge", False), (("config", "validate"), "folder", True)],
)
def test_an_odd_file_as_configuration_is_one_line_and_exit_2(
    command: tuple[str, ...],
    kind: str,
    is_option: bool,  # noqa: FBT001  # a column
    tmp_path: Path,
) -> None:
    make, why = ODD[kind]
    path = make(tmp_path)
    option, environ = (("--config", str(path)), {}) if is_option else ((), {"ENVWATCH_CONFIG": str(path)})
    line = f"envwatch: {path}: cannot be read: {why}\n"
    assert run(tmp_path, *command, *option, LETTA_API_KEY=KEY, **environ) == (2, line)


@pytest.mark.parametrize("kind", ["pipe", "huge"])
def test_an_odd_file_as_login_is_one_line_and_exit_2(kind: str, tmp_path: Path) -> None:
    make, why = ODD[kind]
    (tmp_path / ".letta").mkdir()
    (tmp_path / ".letta" / "settings.json").symlink_to(make(tmp_path))
    line = f"envwatch: ~/.letta/settings.json cannot be read: {why}; `export LETTA_API_KEY=…` instead\n"
    assert run(tmp_path, "list") == (2, line)


@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_an_odd_file_of_certificates_is_one_line_and_exit_2(kind: str, tmp_path: Path) -> None:
    make, why = ODD[kind]
    path = make(tmp_path)
    ended = run(tmp_path, "list", LETTA_API_KEY=KEY, SSL_CERT_FILE=str(path))
    assert ended == (2, f"envwatch: SSL_CERT_FILE names {path}: {why.replace('1 MiB', '16 MiB')}\n")


def test_a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4096)
    assert read_regular(path, limit=4096) == b"x" * 4096
    path.write_bytes(b"x" * 4097)
    with pytest.raises(OSError, match="Larger than 4 KiB"):
        read_regular(path, limit=4096)


def test_one_process_has_the_lock_until_its_end(tmp_path: Path) -> None:
    path = tmp_path / "alerts" / "work.lock"
    one, other = ProcessLock(path), ProcessLock(path)
    assert (other.holder, one.is_held) == ("", False)
    assert one.acquire()
    assert one.acquire(), "it has it already"
    assert not other.acquire()
    assert (one.is_held, other.is_held, other.holder) == (True, False, str(os.getpid()))
    one.release()
    assert other.acquire()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other.release()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from envwatch.files import ProcessLock; "
        "print(ProcessLock(Path(sys.argv[1])).acquire(), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "work.lock"
    done = programs.run([sys.executable, "-c", program, str(path)], dict(os.environ))
    assert done.stdout.strip() == b"True"
    lock = ProcessLock(path)
    assert lock.acquire()
    lock.release()


def test_a_lock_whose_file_was_deleted_is_taken_anew(tmp_path: Path) -> None:
    one, other = ProcessLock(tmp_path / "lock"), ProcessLock(tmp_path / "lock")
    assert one.acquire()
    (tmp_path / "lock").unlink()
    assert other.acquire()
    assert not one.acquire()
    other.release()


def test_a_link_or_a_pipe_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        ProcessLock(tmp_path / "lock").acquire()
    assert names(tmp_path) == ["lock"]
    (tmp_path / "lock").unlink()
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(OSError, match="No such device"):
        ProcessLock(tmp_path / "lock").acquire()
