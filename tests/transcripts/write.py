"""Writes the transcripts anew: `uv run python tests/transcripts/write.py [NAME ...]`.

A name is a file of command lines, such as `list`, or a story of the dashboard, such as `pod_down`; without a name, all
are written. A new command line is a new line `$ envwatch …` in a file, without output. The differences are for the
reviewer.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import quick_apps
from support.transcripts import FOLDER, sections_of
from transcripts.screens import SCREENS, SIZES, STORIES, file_of, told


def main() -> None:
    files = {path.stem: path for path in sorted(FOLDER.glob("*.txt"))}
    names = sys.argv[1:] or [*files, *STORIES]
    if unknown := set(names) - files.keys() - STORIES.keys():
        sys.exit(f"no transcript is named {', '.join(sorted(unknown))}; there are {', '.join([*files, *STORIES])}")
    for path in (files[name] for name in names if name in files):
        lines = [line for section in sections_of(path) for line in section.played()]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    quick_apps.install()  # as `tests/conftest.py` does
    SCREENS.mkdir(exist_ok=True)
    screens = {file_of(name, size): (name, size) for name in names if name in STORIES for size in SIZES}
    for path, (name, size) in screens.items():
        path.write_text(asyncio.run(told(name, size)), encoding="utf-8")
    if not sys.argv[1:]:
        for path in set(SCREENS.iterdir()) - screens.keys():
            path.unlink()


if __name__ == "__main__":
    main()
