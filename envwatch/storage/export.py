"""Exports: what the screen shows, as a file that the user asked for.

Owns their names. Knows nothing of what stands in them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from envwatch.model.zones import in_zone
from envwatch.storage.private_files import make_private_folder, write_private


def export_here(data: bytes, suffix: str) -> Path:
    """Write an export into the folder in which envwatch was started; see `export`."""
    return export(data, Path.cwd(), suffix, datetime.now(UTC))


def export(data: bytes, folder: Path, suffix: str, now: datetime) -> Path:
    """Write a file that only its owner can read, all of it or nothing, and return where it is.

    It is named after the moment, and has a number behind that where another file has the name: none is ever
    overwritten.

    Args:
        data: what stands in it.
        folder: where it goes; it is made if it is missing.
        suffix: with its dot: `.json`.
        now: the moment; the name tells it as the user's clock shows it.

    Raises:
        OSError: if it cannot be written; then nothing of it is left.
    """
    make_private_folder(folder)
    moment = f"envwatch-{in_zone(now):%Y%m%d-%H%M%S}"
    number = 1
    while True:
        path = folder / f"{moment}{f'-{number}' if number > 1 else ''}{suffix}"
        try:
            write_private(path, data)
        except FileExistsError:
            number += 1
        else:
            return path
