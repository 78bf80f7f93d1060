"""Checks texts for Markdown and chat syntax."""

from __future__ import annotations

import re

HOSTILE = (
    "@channel",
    "@here @everyone <@U024BE7LH> <!subteam^S012>",
    "<!channel|here>",
    "` @channel `` @here ``` @all",
    "`",
    "``",
    "*bold* _it_ ~gone~ __init__",
    "[click](https://evil.example/a)",
    "![x](https://evil.example/b.png)",
    "<https://evil.example|x>",
    "<img src=x onerror=alert(1)>",
    "a | b | c",
    "# heading",
    "- item",
    "\\",
    "\\`@channel",
    "&lt;!here&gt;",
    "x" * 39 + "@channel",
    "someone" * 6 + "@here",
    "user@host",
    "é@channel",
    "_@channel",
    "漢字" * 60,
    "🚀",
    "\u202egnp.exe\n@channel\x1b]0;x\x07",
    "",
    "   ",
)


def assert_is_harmless(text: str) -> None:
    """Assert that text outside code spans has envwatch's words only, and that no text triggers a chat."""
    assert not re.search(r"(?<![0-9A-Za-z])@", text)
    assert not re.search(r"[<>|\x00-\x09\x0b-\x1f\x7f]|://", text)
    for line in text.splitlines():
        outside = re.sub(r"`[^`]+`", "", line)
        assert re.fullmatch(r"#{0,2}[-A-Za-z0-9 .,:;()%+]*", outside), outside
        assert not re.search(r"[*_~\[\]\\&!]", outside)
