"""Writes the screen transcripts anew: `uv run python tests/transcripts/write_screens.py [NAME …]`.

A name is a story's name, such as `pod_down`; without a name, all transcripts are written.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support import collector, idle, stylesheets
from transcripts.screen_stories import FOLDER, SIZES, STORIES, file_of, told


def write(names: Collection[str] = ()) -> None:
    """Write the transcripts of some stories, or of all stories and no other file.

    Raises:
        SystemExit: if a name is unknown.
    """
    if unknown := sorted(set(names) - STORIES.keys()):
        raise SystemExit(f"no story {', '.join(unknown)}; the stories: {', '.join(STORIES)}")
    _prepare()
    FOLDER.mkdir(exist_ok=True)
    written = {file_of(story, size): (story, size) for story in names or STORIES for size in SIZES}
    for path, (story, size) in written.items():
        path.write_text(asyncio.run(told(story, size)), encoding="utf-8")
    if not names:
        for path in set(FOLDER.iterdir()) - written.keys():
            path.unlink()


def _prepare() -> None:
    """Set up this process as `tests/conftest.py` does."""
    collector.relax()
    idle.install()
    stylesheets.share()


if __name__ == "__main__":
    write(sys.argv[1:])
