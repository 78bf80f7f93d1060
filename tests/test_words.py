"""One idea has one word: the words that are gone stand in no text that a user can meet."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Final

import pytest
from support.documents import DOCS, README, ROOT
from support.parsers import parsers

from envwatch.cli.arguments import whole_parser
from envwatch.config.schema import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PACKAGE: Final = ROOT / "envwatch"
TRANSCRIPTS: Final = ROOT / "tests" / "transcripts"
FOR_DEVELOPERS: Final = frozenset({"architecture.md", "performance.md"})
"""Pages that may use the words of the code: row, listing."""

GONE: Final[Mapping[str, str]] = {
    r"(?<!in a )\brows?\b": "machine",
    r"listings?": "poll, answer or list",
    r"needs? (?:a person|nobody)": "pages, does not page",
    r"(?:not )?alerting": "pages",
    r"problems first": "losses first",
    r"doubted": "unknown",
    r"permanent (?:rows?|machines?)|(?:not|is|are) permanent": "up for nine tenths of a week",
    r"mass (?:change|loss)(?:es)?|storms?": "incident",
    r"quiet hours|\[\[quiet\]\]": "silence",
    r"(?:status:|\d |○ |! )missing": "off",
    r"STALE|HOLD|STALLED|OUR CLOCK": "DATA ?",
    r"CONN|JOIN|VER": "no tag: the log has it",
    r"ephemeral": "alert",
    r"recorded before 2\.0|(?<!=)1\.[01]\.0": "nothing: no version before 2.0.0 was published",
}
"""Words that are gone, and what is said instead."""

NAMES: Final = re.compile(r"`[^`\n]*\b(?:rows|Listing)\b[^`\n]*`|\brows: \$lost|keepachangelog\S*")
"""Names in programs' interfaces, which keep their words: the field `rows` of an acknowledgement, headers of HTTP."""


def gone_in(text: str) -> list[str]:
    """The words that are gone, each with what is said instead."""
    text = NAMES.sub("", text)
    return [
        f"{found[0]!r}: say {instead}"
        for word, instead in GONE.items()
        for found in re.finditer(rf"\b(?:{word})\b" if word[0].isalpha() else f"(?:{word})", text)
    ]


def test_a_word_that_is_gone_is_found() -> None:
    text = "3 rows in a row; `rows` is a list; 1 missing; storms"
    assert gone_in(text) == ["'rows': say machine", "'storms': say incident", "'1 missing': say off"]


PAGES: Final = [
    path for path in (README, ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))) if path.name not in FOR_DEVELOPERS
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_page_has_a_word_that_is_gone(path: Path) -> None:
    assert gone_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", ["", *parsers()])
def test_no_help_has_a_word_that_is_gone(name: str) -> None:
    text = (parsers()[name] if name else whole_parser()).format_help()
    assert gone_in(text) == []
    assert re.findall(r"\benvironments?\b", text) == [], "a machine to people"


def test_the_schema_of_settings_has_no_word_that_is_gone() -> None:
    assert gone_in(json.dumps(schema())) == []


def printed(path: Path) -> str:
    """What a transcript's commands printed, or what its screens show, without the lines of the test itself."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.parent != TRANSCRIPTS:
        return "\n".join(line for line in lines if not re.match(r"\d\d:\d\d:\d\d  ", line))
    return "\n".join(line[2:] for line in lines if line.startswith(("| ", "! ")))


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.rglob("*.txt")), ids=lambda path: path.stem)
def test_no_command_prints_and_no_screen_shows_a_word_that_is_gone(path: Path) -> None:
    assert gone_in(printed(path)) == []


def sentences(path: Path) -> Iterator[str]:
    """Texts of two words or more in a module, except docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text = node.value.strip()
            if " " in text and not text.startswith("SELECT"):
                yield text


def test_no_message_has_a_word_that_is_gone() -> None:
    modules = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "packing.py"]  # a dictionary of zlib
    assert len(modules) > 200
    found = {f"{path.relative_to(PACKAGE)}: {text}" for path in modules for text in sentences(path) if gone_in(text)}
    assert found == set()
