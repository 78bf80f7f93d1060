"""Replacements for characters that an ASCII terminal cannot show."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import envwatch
from envwatch.model.text import cells
from envwatch.tui.state import ASCII
from envwatch.tui.terminal.driver import to_ascii

PACKAGE = Path(envwatch.__file__).parent


@pytest.mark.parametrize(
    ("text", "replaced"), [("×8", "x8"), ("≥ 120 s", "> 120 s"), ("ada → bob", "ada > bob"), ("é 東京", "e ????")]
)
def test_a_character_becomes_a_similar_one_of_the_same_width(text: str, replaced: str) -> None:
    assert to_ascii(text) == replaced
    assert cells(text) == len(replaced)


def test_no_glyph_of_the_ascii_set_is_the_unicode_one() -> None:
    assert all(str(glyph).isascii() for glyph in ASCII)


def test_every_sentence_of_ours_is_legible_in_ascii() -> None:
    sentences = {
        node.value
        for path in (PACKAGE / "views").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 1
    }
    assert sentences
    assert {text for text in sentences if "?" in to_ascii(text).replace("?", "", text.count("?"))} == set()
