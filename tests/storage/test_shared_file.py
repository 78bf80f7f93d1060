"""A file for other users' programs: whole at any moment, and readable."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from envwatch.files import SharedFile

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def strict_umask() -> object:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_everybody_may_read_it_under_any_umask_also_where_it_was_private(tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    path.write_bytes(b"older")
    path.chmod(0o600)
    SharedFile(path).write(b"newer")
    assert path.read_bytes() == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_reader_finds_all_of_the_version_that_it_opened(tmp_path: Path) -> None:
    file = SharedFile(tmp_path / "a.prom")
    file.write(b"a" * 100_000)
    with (tmp_path / "a.prom").open("rb", buffering=0) as reader:
        assert reader.read(10) == b"a" * 10
        file.write(b"b")
        assert reader.read() == b"a" * 99_990
    assert os.listdir(tmp_path) == ["a.prom"]  # noqa: PTH208  hidden ones too


def test_what_is_being_written_has_no_name_that_a_collector_reads(tmp_path: Path) -> None:
    file, path = SharedFile(tmp_path / "a.prom"), tmp_path / "a.prom"
    path.mkdir()  # makes the last step fail
    (path / "in the way").touch()
    seen: list[str] = []
    with pytest.raises(OSError):  # noqa: PT011  which one depends on the system
        file.write(b"x")
    seen += os.listdir(tmp_path)  # noqa: PTH208
    assert seen == ["a.prom"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.prom").symlink_to(tmp_path / "target.prom")
    SharedFile(tmp_path / "link.prom").write(b"x")
    assert (tmp_path / "link.prom").is_symlink()
    assert (tmp_path / "target.prom").read_bytes() == b"x"


def test_what_is_no_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to(os.devnull)
    for name in ("pipe", "device", "."):
        with pytest.raises(OSError, match="It is no regular file"):
            SharedFile(tmp_path / name)


def test_links_that_lead_to_each_other_are_refused(tmp_path: Path) -> None:
    link = tmp_path / "loop.prom"
    link.symlink_to(link)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        SharedFile(link)


def test_it_removes_what_it_wrote_and_nothing_else(tmp_path: Path) -> None:
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


def test_the_rest_of_a_process_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    rest = tmp_path / f".a.prom.{os.getpid()}.new"
    rest.write_bytes(b"half")
    SharedFile(tmp_path / "a.prom").write(b"whole")
    assert (tmp_path / "a.prom").read_bytes() == b"whole"
    assert not rest.exists()
