"""Exports of what the screen shows: the name and the place of their files. Knows nothing of their content."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from envwatch.model.times import in_zone
from envwatch.storage.private_files import make_private_folder, write_private


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
