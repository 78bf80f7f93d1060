"""A process without write permission, even where root runs the tests."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOBODY = 65_534


@contextmanager
def folder_for_anyone() -> Iterator[Path]:
    """Yield this user's folder that every user can enter, unlike pytest's folders."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101
        yield Path(folder)


@contextmanager
def without_rights(*folders: Path, may_read: bool = True) -> Iterator[None]:
    """Make folders and contents read-only, or unreadable, for every thread of this process."""
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    modes = {path: path.stat().st_mode for path in paths}
    for path in reversed(paths):  # contents before their folder
        path.chmod((0o555 if path.is_dir() else 0o444) if may_read else 0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)
