"""The dashboard's screens in ten stories, compared with the transcripts.

After a wanted change of the screen, `uv run python tests/transcripts/write.py` writes the transcripts anew.
"""

from __future__ import annotations

from difflib import unified_diff
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from support.budget import first_quick
from transcripts.screens import SCREENS, SIZES, STORIES, file_of, told

if TYPE_CHECKING:
    from transcripts.screens import Size

MOST_LINES = 60
"""Lines of a difference in a failed test's message."""


@pytest.mark.parametrize("size", first_quick(SIZES), ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("story", STORIES)
async def test_a_story_has_the_frames_of_its_transcript(story: str, size: Size) -> None:
    path = file_of(story, size)
    before, now = path.read_text(encoding="utf-8").splitlines(), (await told(story, size)).splitlines()
    difference = "\n".join(islice(unified_diff(before, now, path.name, "now", lineterm=""), MOST_LINES))
    assert not difference, f"{difference}\n\nwanted? uv run python tests/transcripts/write.py {story}"


def test_each_transcript_has_a_story() -> None:
    assert set(SCREENS.iterdir()) == {file_of(story, size) for story in STORIES for size in SIZES}
