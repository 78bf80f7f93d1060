"""Reads README.md, the other pages beside it, and the pages in docs/: examples, names, links and sentences."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
FOR_STRANGERS: Final = (README, *(ROOT / f"{name}.md" for name in ("CODE_OF_CONDUCT", "CONTRIBUTING", "SECURITY")))
DOCS: Final = ROOT / "docs"

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_END_OF_COMMAND: Final = re.compile(r"[|&;<>()]+")


class Block(NamedTuple):
    page: str
    language: str
    text: str


def pages() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in (*FOR_STRANGERS, *sorted(DOCS.rglob("*.md")))
    }


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return the text under a heading of the second level.

    Raises:
        ValueError: if the page has no such heading, or several.
    """
    without_code = _FENCE.sub(lambda block: block[0].replace("\n#", "\n\0#"), f"\n{text}")
    (_, found) = without_code.split(f"\n## {heading}\n")
    return found.split("\n## ")[0].replace("\0", "")


def blocks(text: str, name: str = "") -> list[Block]:
    return [Block(name, language, body) for language, body in _FENCE.findall(text)]


def prose(text: str) -> str:
    return _FENCE.sub("", text)


def spans(text: str) -> list[str]:
    return [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose(text))]


def names(text: str) -> set[str]:
    return {name for span in spans(text) for name in span.split()}


def tables(text: str) -> list[list[str]]:
    """Return the rows of a page's tables as cells, without heads."""
    rows = re.findall(r"^\|(.+)\|$", prose(text), re.MULTILINE)
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in rows]
    rules = [number for number, row in enumerate(cells) if all(re.fullmatch("-+", cell) for cell in row)]
    heads = {number - 1 for number in rules}
    return [row for number, row in enumerate(cells) if number not in heads and number not in rules]


def lists(text: str) -> dict[str, list[str]]:
    """Return the lists of a page, paragraphs "**label**: `name name`", by label."""
    found = re.findall(r"^\*\*(.+?)\*\*: `([^`]+)`", text, re.DOTALL | re.MULTILINE)
    return {" ".join(label.split()): listed.split() for label, listed in found}


def promises() -> dict[str, list[str]]:
    """Return the lists of docs/stability.md, which tests/test_stability.py compares with the program."""
    return lists(page("stability.md"))


def command_lines(text: str) -> list[list[str]]:
    """Return the arguments of every envwatch call in a page's examples."""
    sources = [block.text for block in blocks(text) if block.language in {"sh", "tmux"}]
    return [call for source in sources for line in source.replace("\\\n", " ").splitlines() for call in _calls(line)]


def mentioned_commands(text: str) -> list[list[str]]:
    """Return the arguments of every envwatch command in a page's prose, where required arguments may be missing."""
    mentions = [span.replace("\\|", "|") for span in spans(text) if span.startswith("envwatch ") and ": " not in span]
    return [call for mention in mentions for call in _calls(mention)]


def _calls(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = [*lexer]
    is_in_container = words[:2] in (["docker", "run"], ["docker", "exec"])
    for embedded in re.findall(r"[#$]\((envwatch [^)]*)\)", line):
        yield from _calls(embedded)
    for start, word in enumerate(words):
        if word == "envwatch" and (
            start == 0 or is_in_container or words[start - 1] == "run" or _END_OF_COMMAND.fullmatch(words[start - 1])
        ):
            ends = [at for at in range(start, len(words)) if _END_OF_COMMAND.fullmatch(words[at])]
            yield words[start + 1 : min(ends, default=len(words))]


def links(text: str) -> list[str]:
    return [link for link in _LINK.findall(prose(text)) if "://" not in link]


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sentences(text: str) -> list[str]:
    """Return a page's sentences and table cells in lower case, without marks and code."""
    words = re.sub(r"`[^`]+`", "code", prose(text))
    cells = re.sub(r"(?<!\\)\|", "\n\n", re.sub(r"^[|-]+$", "", words, flags=re.MULTILINE))
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n|\n(?=[#*]|\d+\. )", cells)]
    found = [each for part in paragraphs for each in re.split(r"(?<=[.:;?!]) ", part)]
    return [" ".join(re.findall(r"[\w'-]+", each.lower())) for each in found]
