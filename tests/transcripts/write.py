"""Writes the output of all transcripts anew: `uv run python tests/transcripts/write.py [FILE ...]`.

A new command line is a new line `$ envwatch …` in a file, without output. The differences are for the reviewer.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.transcripts import FOLDER, sections_of


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.txt"))
    for path in paths:
        lines = [line for section in sections_of(path) for line in section.played()]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
