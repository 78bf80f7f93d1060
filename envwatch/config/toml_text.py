"""Parser of TOML text with the line of each key and every mistake of syntax.

`tomllib` keeps no positions and stops at the first mistake.
"""

from __future__ import annotations

import re
import tomllib
from ast import literal_eval
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from envwatch.model.text import clean, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_KEY_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
_KEY_LINE: Final = re.compile(rf"[ \t]*(\[*)[ \t]*({_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*)[ \t]*[\]=]")
_BETWEEN: Final = re.compile(r"[ \t\r]*(#.*)?")

_MOST_MISTAKES: Final = 20
"""Limit of mistakes; a file with more is no TOML."""
_MOST_LINES: Final = 200
"""Lines to search for a statement's begin."""


def parsed(content: bytes) -> tuple[dict[str, Any], Mapping[str, int], list[tuple[int, str]]]:
    """Return a file's table, the lines of the keys, and the mistakes.

    Lines are by full name: `profiles.work.interval`, with a number from 0 for an array's tables: `hooks.0`. Inline
    tables have no lines; in a multi-line text, a line like a key counts. A mistake has a line, from 1 (0 for the whole
    file), and a message.
    """
    try:
        text = content.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError as error:
        return {}, {}, [(error.object.count(b"\n", 0, error.start) + 1, "is not UTF-8")]
    # `splitlines` would also end lines at U+2028, no line end in TOML.
    lines = text.split("\n")
    mistakes: list[tuple[int, str]] = []
    while True:
        try:
            return tomllib.loads("\n".join(lines)), _lines_of_keys(text), mistakes
        except tomllib.TOMLDecodeError as error:
            reported, what = _place_and_words(error, len(lines))
        except (ValueError, RecursionError):
            mistakes.append((0, "holds a number or a nesting that is too long or too deep"))
            return {}, {}, mistakes
        start = _statement_around(lines, reported)
        if start is None or len(mistakes) == _MOST_MISTAKES:
            mistakes.append((reported, f"{what}; the rest of the file was not checked"))
            return {}, {}, mistakes
        if start < reported < len(lines):
            what += f" in line {reported}"
        mistakes.append((start, what))
        stop = _end_of_statement(lines, start)
        lines[start - 1 : stop - 1] = [""] * (stop - start)


def _place_and_words(error: tomllib.TOMLDecodeError, last: int) -> tuple[int, str]:
    what, _, place = str(error).rpartition(" (at ")
    if match := re.fullmatch(r"Cannot [^(]*(\(.*\))(?: twice)?", what):  # the message contains a Python tuple
        what = f"{'.'.join(shortened(clean(part), 60) for part in literal_eval(match[1]))} stands in this file twice"
    elif what.startswith("Cannot overwrite"):
        what = "this key or table stands in the file twice"
    number = re.search(r"line ([0-9]+)", place)
    return int(number[1]) if number else last, what or "is no TOML"


def _statement_around(lines: Sequence[str], reported: int) -> int | None:
    for start in range(reported, max(reported - _MOST_LINES, 0), -1):
        if not _BETWEEN.fullmatch(lines[start - 1]) and _is_toml(lines[: start - 1]):
            return start
    return None


def _is_toml(lines: Iterable[str]) -> bool:
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _end_of_statement(lines: Sequence[str], start: int) -> int:
    is_header = lines[start - 1].lstrip().startswith("[")
    for number in range(start + 1, len(lines) + 1):
        line = lines[number - 1]
        if line.lstrip().startswith("[") if is_header else (_KEY_LINE.match(line) or _BETWEEN.fullmatch(line)):
            return number
    return len(lines) + 1


def _lines_of_keys(text: str) -> dict[str, int]:
    lines: dict[str, int] = {}
    table = ""
    counts: Counter[str] = Counter()
    for number, line in enumerate(text.split("\n"), 1):
        if match := _KEY_LINE.match(line):
            parts = [_unquoted(part) for part in re.findall(_KEY_PART, match[2])]
            name = ".".join(parts if match[1] or not table else [table, *parts])
            if len(match[1]) > 1:
                counts[name] += 1
                name = f"{name}.{counts[name] - 1}"
            table = name if match[1] else table
            lines.setdefault(name, number)
    return lines


def _unquoted(part: str) -> str:
    try:
        return str(tomllib.loads(f"part = {part}")["part"]) if part[0] in "\"'" else part
    except tomllib.TOMLDecodeError:  # a line within a multi-line text, not a key
        return part
