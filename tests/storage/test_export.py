"""Exports: names, modes, and atomic writes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from envwatch.files import export

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 11, 24, 17, 18, 30).astimezone()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("suffix", [".json", ".csv", ".svg"])
def test_an_export_is_named_after_the_moment_and_its_format(tmp_path: Path, suffix: str) -> None:
    path = export(b"\x00some\n", tmp_path, suffix, AT)
    assert path == tmp_path / f"envwatch-20261124-171830{suffix}"
    assert path.read_bytes() == b"\x00some\n"


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-9, minutes=-30))])
def test_the_name_has_the_local_time_for_a_moment_in_any_zone(tmp_path: Path, zone: timezone) -> None:
    assert export(b"", tmp_path, ".csv", AT.astimezone(zone)).name == "envwatch-20261124-171830.csv"


def test_no_file_is_ever_overwritten(tmp_path: Path) -> None:
    paths = [export(str(number).encode(), tmp_path, ".json", AT) for number in range(3)]
    assert [path.name for path in paths] == [f"envwatch-20261124-171830{behind}.json" for behind in ("", "-2", "-3")]
    assert [path.read_bytes() for path in paths] == [b"0", b"1", b"2"]
    assert export(b"", tmp_path, ".csv", AT).name == "envwatch-20261124-171830.csv"
    assert export(b"", tmp_path, ".json", AT + timedelta(seconds=1)).name == "envwatch-20261124-171831.json"


def test_an_existing_path_of_that_name_is_left_alone(tmp_path: Path) -> None:
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


def test_a_disk_that_fills_up_leaves_no_half_file(tmp_path: Path) -> None:
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
