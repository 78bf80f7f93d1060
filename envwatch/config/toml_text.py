"""The text of a TOML file: its table, the line of each key, and every mistake of syntax.

`tomllib` keeps no positions and stops at the first mistake; a mistake without its line is hard to find among 50
profiles, and one mistake at a time is a slow way to mend a file. Knows no setting.
"""

from __future__ import annotations

import re
import tomllib
from ast import literal_eval
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.model.text import clean, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_KEY_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
_KEY_LINE: Final = re.compile(rf"[ \t]*(\[*)[ \t]*({_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*)[ \t]*[\]=]")
"""The start of a line of TOML that names a table or a key."""
_BETWEEN: Final = re.compile(r"[ \t\r]*(#.*)?")
"""A line of TOML without a statement."""

_MOST_MISTAKES: Final = 20
"""Mistakes of syntax after which the rest is not looked at: then it is no TOML."""
_MOST_LINES: Final = 200
"""Lines before a mistake among which its statement is looked for."""


class TomlText(NamedTuple):
    """A file that was read as far as possible."""

    table: dict[str, Any]
    """Without the statements that cannot be read."""
    lines: Mapping[str, int]
    """The line of each table and key by its full name, keys in inline tables excepted; a table of an array has its
    number, from 0, in its name. Best effort: a line of a multi-line text that looks like a key counts as one."""
    mistakes: Sequence[tuple[int, str]]
    """The line of each mistake of syntax, from 1, or 0 for the file as a whole, and what is wrong there."""


def parsed(content: bytes) -> TomlText:
    """Read a file; what cannot be read is left out and noted."""
    try:
        text = content.decode("utf-8-sig")  # editors on Windows put a mark before the first line
    except UnicodeDecodeError as error:
        return TomlText({}, {}, [(error.object.count(b"\n", 0, error.start) + 1, "is not UTF-8")])
    # Not `splitlines`: to TOML, U+2028 and its like end no line.
    lines = text.split("\n")
    mistakes: list[tuple[int, str]] = []
    while True:
        try:
            return TomlText(tomllib.loads("\n".join(lines)), _lines_of_keys(text), mistakes)
        except tomllib.TOMLDecodeError as error:
            reported, what = _place_and_words(error, len(lines))
        except (ValueError, RecursionError):
            mistakes.append((0, "holds a number or a nesting that is too long or too deep"))
            return TomlText({}, {}, mistakes)
        start = _statement_around(lines, reported)
        if start is None or len(mistakes) == _MOST_MISTAKES:
            mistakes.append((reported, f"{what}; the rest of the file was not checked"))
            return TomlText({}, {}, mistakes)
        if start < reported < len(lines):
            what += f" in line {reported}"
        mistakes.append((start, what))
        stop = _end_of_statement(lines, start)
        lines[start - 1 : stop - 1] = [""] * (stop - start)


def _place_and_words(error: tomllib.TOMLDecodeError, last: int) -> tuple[int, str]:
    """Return the line of a mistake, counted from 1, and what it is."""
    what, _, place = str(error).rpartition(" (at ")
    if match := re.fullmatch(r"Cannot [^(]*(\(.*\))(?: twice)?", what):  # the parser shows a Python tuple
        what = f"{'.'.join(shortened(clean(part), 60) for part in literal_eval(match[1]))} stands in this file twice"
    elif what.startswith("Cannot overwrite"):
        what = "this key or table stands in the file twice"
    number = re.search(r"line ([0-9]+)", place)
    return int(number[1]) if number else last, what or "is no TOML"


def _statement_around(lines: Sequence[str], reported: int) -> int | None:
    """Return the line in which the statement of a mistake begins: what is before that line can be read."""
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
    """Return the line after a statement that cannot be read; after a table's header, the line after its keys."""
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
    """How many tables each array of tables has so far."""
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
    except tomllib.TOMLDecodeError:  # not a key, but a line within a text
        return part
