"""The first frames of dashboard and help: complete and true, whenever the data comes."""

from __future__ import annotations

import re

import pytest
from support.app_harness import Stage, running
from support.builders import beating, environment, listed

from envwatch.fleet.events import NO_PROFILE

LONG_AGO = 3 * 86_400_000
"""Milliseconds since the old losses."""


def recorded(stage: Stage) -> list[list[str]]:
    frames: list[list[str]] = []
    stage.app.post_display_hook = lambda: frames.append(stage.lines)  # type: ignore[method-assign]  # Textual's hook for tests
    return frames


COUNT = r"[●◐○] [0-9]+ [a-z]+"


@pytest.mark.parametrize("size", [(80, 24), (140, 24), (90, 45), (140, 45)])
@pytest.mark.parametrize("is_there", [True, False], ids=["the data is there", "the data comes later"])
async def test_no_first_frame_is_incomplete_or_laid_out_for_another_size(
    size: tuple[int, int], *, is_there: bool
) -> None:
    stage = Stage(is_drawn_when_idle=False)
    lost = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": stage.at - LONG_AGO}
    down = environment("env-8", connectionName="ada", connectionId=None, lastHeartbeat=None)
    rows = [*beating(5, stage.at), down, environment("env-9", connectionName="zoe", **lost)]
    frames = recorded(stage)
    if is_there:
        await stage.app.take(stage.watch.take(NO_PROFILE, listed(rows, stage.at)))
    async with running(stage, size):
        if not is_there:
            await stage.show(rows)
    filled = [lines for lines in frames if any("10s" in line for line in lines)]
    assert (frames[0] in filled) is is_there
    assert filled
    counts = ["● 5 on", "○ 1 off"]
    assert re.findall(COUNT, frames[-1][0]) == counts
    titles = {line.partition("▏")[0].rstrip() for lines in frames for line in lines if line.startswith("  STATE ")}
    assert len(titles) == 1, "the columns stay"
    for lines in frames:
        text = "\n".join(lines)
        assert ("▏" in text) is (size[0] >= 120)
        assert "No environments" not in text
        assert "0 online" not in text
        assert re.findall(COUNT, lines[0]) in ([[], counts] if lines in filled else [[]])
        assert (lines in filled) is ("▸ offline for over 24 h  ○ 1" in text)
        assert (lines in filled) is bool(re.search("^▌►○ off +12s NEW  ada ", text, re.MULTILINE))
        assert (lines in filled) is ("── 5 online · 1 old ──" in text)


@pytest.mark.parametrize("columns", [80, 140])
async def test_the_help_comes_with_all_its_columns(columns: int) -> None:
    stage = Stage()
    async with running(stage, (columns, 40)):
        frames = recorded(stage)
        await stage.press("question_mark")
        helps = [lines for lines in frames if any(line.startswith(" Move") for line in lines)]
        assert helps
        assert {bool(re.search(r"^ Move +\w", "\n".join(lines), re.MULTILINE)) for lines in helps} == {columns == 140}
