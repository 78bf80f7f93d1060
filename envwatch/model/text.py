r"""Cleans untrusted text for a terminal, and measures and cuts it in cells.

Owns the only function that makes text from outside safe to draw (`clean`), its width, how it is cut to a column, and
which names look alike. Nothing here is markup, or depends on what draws it.

A terminal must agree with envwatch on the width of every character, or columns are misaligned. So `clean` keeps only
characters on which Unicode's tables, Rich and wcwidth agree, alone and next to any other; the rest become escapes like
`\x1b`. The price is accepted: flags, skin tones, joined emoji and the vowel signs and viramas of Indian scripts read as
escapes. Ambiguous width counts as narrow, as it does outside East Asian locales.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NewType
from unicodedata import category, combining, east_asian_width, normalize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pydantic import JsonValue

SafeText = NewType("SafeText", str)
"""Text from a function of this module, which alone make it: all that widgets, logs and exports accept."""

EMPTY: Final = SafeText("")
"""The text without characters."""

LONGEST: Final = 1024
"""Characters of one cleaned text: more than a path or an error message needs, few enough to keep 100,000 texts."""

MARKS: Final = 2
"""Combining marks on one character: a vowel and a tone, as in Vietnamese and Thai. More would overlap other lines."""

DEPTH: Final = 32
"""Levels of lists and objects in a JSON value: metadata has three."""

BITS: Final = 13_000
"""Size of an integer, 3,914 digits: Python prints up to 4,300."""

_ESCAPE: Final = 10
"""Characters of the longest escape: `\\U0001f1e9`."""

_ELLIPSIS: Final = "…"
_HASH_MARK: Final = "~"
_HASH_DIGITS: Final = 8
"""Of a SHA-256 in hexadecimal: two ids that read alike collide once in four billion."""

# Presentation hints (VS15, VS16): only some terminals widen the character before. Without the hint all agree, and no
# name needs it.
_HINTS: Final = "\ufe0e\ufe0f"

# Blank, though Unicode calls them letters, marks or symbols: names could differ invisibly, and variation selectors can
# carry whole messages. Joiner, Hangul and Khmer fillers, Mongolian selectors, blank braille, Khitan filler, null
# notehead, the other variation selectors.
_BLANK: Final = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0"
    "\U00016fe4\U0001d159\U000e0100-\U000e01ef"
)

# Trigrams, digrams, hexagrams, tetragrams and counting rods turned wide in Unicode 16, which also made an Ahom vowel
# sign a spacing one; a regional indicator counts one or two, alone or in pairs; a skin tone counts two or nothing.
_DISPUTED: Final = (
    "\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001171e\U0001d300-\U0001d356\U0001d360-\U0001d376"
    "\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff"
)
_ESCAPED: Final = re.compile(f"[{_BLANK}{_DISPUTED}]")

# `clean` keeps every character of these ranges, and none is a mark, so it need not judge them one by one: Latin, Greek,
# Cyrillic, Hebrew, Arabic, kana, Han, Hangul, full-width forms, emoji, and the punctuation, arrows, signs, lines and
# shapes of envwatch's own words.
_HARMLESS: Final = re.compile(
    r"[ -~\xa1-\xac\xae-\u02ff\u0391-\u03a1\u03a3-\u03c9\u0400-\u0482\u048a-\u052f\u05d0-\u05ea\u0621-\u063a"
    r"\u0641-\u064a\u1e00-\u1eff\u2010-\u2027\u2030-\u205e\u2190-\u22ff\u2500-\u262f\u2638-\u2689\u2690-\u27bf"
    r"\u3001-\u3029\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff9f"
    r"\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6c5\U0001f90c-\U0001f9ff]*+"
)

# wcwidth merges the character after a virama with the one before it; Rich and most terminals do not.
_VIRAMA: Final = 9


def clean(text: str, limit: int = LONGEST) -> SafeText:
    r"""Return text that a terminal can only show: no control, no invisible character, bounded length.

    Everything that `str.isprintable` refuses (categories Cc Cf Cs Co Cn Zl Zp, and every space but the plain one)
    becomes a visible escape (`\x1b`, `\u202e`), and so do characters of disputed width (see the module). Each character
    is judged alone; sequences are never recognised. A mark without a base is escaped too, marks beyond `MARKS` become
    one `…`, and text that is cut ends with `…`. A backslash is kept, so that cleaning is idempotent, and a literal
    `\x1b` in the input reads like an escape.

    Args:
        text: anything, lone surrogates included.
        limit: most characters of the result, at least 1; the text beyond that many characters is ignored.
    """
    if len(text) <= limit and (text.isprintable() if text.isascii() else _HARMLESS.fullmatch(text)):
        return SafeText(text)
    pieces = []
    carried: int | None = None  # marks on the character before; None if there is no base
    for character in text[:limit]:
        piece = _piece(character)
        if piece != character:
            carried = None if piece else carried
        elif _width(character):
            carried = 0
        elif carried is None:
            piece = _escape(character)
        else:
            carried += 1
            if carried > MARKS:
                piece = _ELLIPSIS if carried == MARKS + 1 else ""
        pieces.append(piece)
    result = "".join(pieces)
    if len(text) > limit or len(result) > limit:
        result = result[: limit - 1] + _ELLIPSIS
    return SafeText(result)


def composed(text: str) -> SafeText:
    """Return a text made of clean texts and envwatch's own words: as `clean` does, but without a limit."""
    if text.isprintable() if text.isascii() else _HARMLESS.fullmatch(text):  # as in `clean`, whose call costs as much
        return SafeText(text)
    return clean(text, _ESCAPE * len(text))


def clean_key(text: str) -> SafeText:
    """Return a clean text for a key: distinct texts stay distinct, and one text always gives the same key.

    Text that `clean` would change ends with a part of its hash, and so does text that ends as if it had one.
    """
    if not is_hashed(text) and clean(text) == text:
        return SafeText(text)
    from hashlib import sha256  # noqa: PLC0415 - it loads OpenSSL, which the help need not wait for

    end = _HASH_MARK + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return SafeText(clean(text, LONGEST - len(end)) + end)


def is_hashed(text: str) -> bool:
    """Whether a text may end with a hash that `clean_key` added."""
    return text[-_HASH_DIGITS - 1 : -_HASH_DIGITS] == _HASH_MARK


def cleaned(value: JsonValue) -> JsonValue:
    """Return a decoded JSON value with every key and string in it cleaned.

    Of two keys that are equal once cleaned, one that was clean before is kept.

    Raises:
        ValueError: for a number that JSON cannot hold or Python does not print (NaN, 1e999, over `BITS`), or nesting
            deeper than `DEPTH`.
    """
    return _cleaned(value, DEPTH)


def _cleaned(value: JsonValue, depth: int) -> JsonValue:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, (list, dict)):
        if not depth:
            raise ValueError(f"nesting deeper than {DEPTH} levels")
        if isinstance(value, list):
            return [_cleaned(item, depth - 1) for item in value]
        return _cleaned_members(value, depth - 1)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a number that is not finite: {value}")
    if isinstance(value, int) and value.bit_length() > BITS:
        raise ValueError(f"a number of more than {BITS} bits")
    return value


def _cleaned_members(members: dict[str, JsonValue], depth: int) -> JsonValue:
    result: dict[str, JsonValue] = {}
    for key, item in members.items():
        name = clean(key)
        if name == key or name not in result:
            result[name] = _cleaned(item, depth)
    return result


def cells(text: str) -> int:
    """Return how many terminal cells a text takes; it must be clean."""
    return len(text) if text.isascii() else _cells(text)


def shortened(
    text: SafeText, width: int, *, keep: Literal["start", "ends", "end"] = "start", ellipsis: str = _ELLIPSIS
) -> SafeText:
    """Return a text cut to at most `width` cells with an ellipsis, or unchanged if it fits.

    A wide character is never split, so the result may be one cell narrower.

    Args:
        text: what to cut.
        width: cells; the result is empty below one.
        keep: the start (`feat/lo…`), both ends with more of the start (`sandbox-30f9…c3a`), or the end (`…/portal`).
        ellipsis: `..` in ASCII terminals.
    """
    if cells(text) <= width:
        return text
    room = width - cells(ellipsis)
    if room <= 0:
        return SafeText(_head(ellipsis, width))
    if keep == "start":
        return SafeText(_head(text, room) + ellipsis)
    if keep == "end":
        return SafeText(ellipsis + _tail(text, room))
    # Three characters distinguish two ids, while the start says what it is.
    tail = _tail(text, min(room // 2, max(3, room // 5)))
    return SafeText(_head(text, room - cells(tail)) + ellipsis + tail)


def fitted(
    text: SafeText,
    width: int,
    *,
    keep: Literal["start", "ends", "end"] = "start",
    align: Literal["left", "right"] = "left",
    ellipsis: str = _ELLIPSIS,
) -> SafeText:
    """Return a text shortened and then padded with spaces to exactly `width` cells; see `shortened`."""
    text = shortened(text, width, keep=keep, ellipsis=ellipsis)
    padding = " " * (width - cells(text))
    return SafeText(text + padding if align == "left" else padding + text)


def wrapped(text: SafeText, width: int) -> list[SafeText]:
    """Return a text in lines of at most `width` cells, broken at spaces, or within a word that is too long.

    Args:
        text: what to break; runs of spaces count as one.
        width: cells; fewer than 2 count as 2, because a wide character has to fit.
    """
    width = max(width, 2)
    lines: list[str] = [""]
    for word in text.split():
        rest = word
        if lines[-1] and cells(lines[-1]) + 1 + cells(rest) <= width:
            lines[-1] += f" {rest}"
            continue
        if lines[-1]:
            lines.append("")
        while cells(rest) > width:
            head = _head(rest, width)
            lines[-1:] = [head, ""]
            rest = rest[len(head) :]
        lines[-1] = rest
    return [SafeText(line) for line in lines]


_NUMBER: Final = re.compile(r"[0-9]+")


@lru_cache(maxsize=65_536)
def natural_key(text: str) -> str:
    """Return a key that sorts texts as people do: without regard to case, and web-2 before web-10.

    A number is preceded by a character for how many digits it has. Cached: names seldom change between two sorts.
    """

    def sized(number: re.Match[str]) -> str:
        digits = number[0].lstrip("0")
        return chr(ord("0") + len(digits)) + digits

    return _NUMBER.sub(sized, text.casefold())


def words_of(text: SafeText) -> list[SafeText]:
    """Return the parts of a text between its spaces."""
    return [SafeText(word) for word in text.split()]


def sliced(text: SafeText, start: int, stop: int | None = None) -> SafeText:
    """Return the characters of a text from `start` to before `stop`. A mark at the start stays without its base."""
    return SafeText(text[start:stop])


def joined(texts: Iterable[SafeText], separator: SafeText) -> SafeText:
    """Return texts in one, with a separator between any two."""
    return SafeText(separator.join(texts))


def csv_cell(text: SafeText) -> str:
    """Return a text that no spreadsheet runs as a formula, with an apostrophe before it if needed (OWASP's rule).

    Full-width and small forms of the signs count too; tabs and line ends cannot occur in cleaned text. Write the file
    with `csv.QUOTE_ALL`, or a `;` within a text may still start a cell.
    """
    start = text.lstrip(" ")[:1]
    return f"'{text}" if start and normalize("NFKC", start)[0] in "=+-@" else text


def counted(count: int, noun: str) -> SafeText:
    """Return a count with its noun: `1 page`, `1,024 pages`."""
    return SafeText(f"{count:,} {noun}{'' if count == 1 else 's'}")


def enumerated(names: Sequence[str], count: int) -> str:
    """Return the first of `count` names, and the number of the others: `a, b and 12 more`."""
    more = count - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def did_you_mean(word: str, known: Iterable[str], *, similarity: float = 0.6) -> str:
    """Return `; did you mean WORD?` with the most similar known word, or an empty text.

    Args:
        word: what was typed.
        known: what exists.
        similarity: from 0 to 1: how similar a word must be at least, by `difflib`. More where words look alike anyway.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

    found = get_close_matches(word, list(known), n=1, cutoff=similarity)
    return f"; did you mean {found[0]}?" if found else ""


def look_alikes(names: Iterable[SafeText]) -> frozenset[SafeText]:
    """Return the names that look like another, different one of them.

    Two names look alike if they have the same skeleton: without compatibility forms, case, accents and runs of spaces,
    Cyrillic and Greek letters replaced by similar Latin ones, and 0/O, 1/l/I, rn/m, vv/w made equal. That is a small
    part of Unicode's confusables, enough for the scripts that forged names use.
    """
    skeletons = {name: _skeleton(name) for name in names}
    counts = Counter(skeletons.values())
    return frozenset(name for name, skeleton in skeletons.items() if counts[skeleton] > 1)


@lru_cache(maxsize=4096)
def _piece(character: str) -> str:
    """Return the replacement of a character: itself, its escape, or nothing."""
    if character in _HINTS:
        return ""
    is_undisputed = category(character) != "Mc" and combining(character) != _VIRAMA and not _ESCAPED.match(character)
    return character if is_undisputed and character.isprintable() else _escape(character)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    """Return the cells of a clean character: 0 for marks, and for the vowels and finals of decomposed Hangul."""
    if category(character) in {"Mn", "Me"} or "\u1161" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7ff":
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


@lru_cache(maxsize=1024)
def _cells(text: str) -> int:
    return sum(map(_width, text))


def _head(text: str, room: int) -> str:
    """Return the longest start of a text within some cells."""
    if text.isascii():
        return text[: max(room, 0)]
    for index, character in enumerate(text):
        room -= _width(character)
        if room < 0:
            return text[:index]
    return text


def _tail(text: str, room: int) -> str:
    """Return the longest end of a text within some cells that does not begin with a mark."""
    if text.isascii():
        return text[max(len(text) - room, 0) :]
    start = len(text)
    for index in range(len(text) - 1, -1, -1):
        width = _width(text[index])
        room -= width
        if room < 0:
            break
        if width:
            start = index
    return text[start:]


# Capital and small letters map differently: Ν looks like N, ν like v.
_LATIN: Final = {
    **str.maketrans("АВЕКМНОРСТУХІЈЅӀԚԜҺ", "ABEKMHOPCTYXIJSlQWH"),
    **str.maketrans("авекмнорстухіјѕӏԛԝһԁ", "abekmhopctyxijslqwhd"),
    **str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX"),
    **str.maketrans("αεικνορτυχ", "aeikvoptux"),
    **str.maketrans("ı‐‒–—−", "i-----"),
}
_ONE_FORM: Final = (("0", "o"), ("1", "l"), ("i", "l"), ("|", "l"), ("rn", "m"), ("vv", "w"))


@lru_cache(maxsize=65_536)
def _skeleton(name: str) -> str:
    if not name.isascii():
        name = "".join([character for character in normalize("NFKD", name) if not combining(character)])
        name = name.translate(_LATIN)
    name = " ".join(name.casefold().split())
    for form, skeleton in _ONE_FORM:
        name = name.replace(form, skeleton)
    return name


_IDS_NAMED: Final = 3
_ID_CELLS: Final = 40
"""A UUID with a prefix."""


def named_ids(ids: Collection[SafeText], count: int) -> SafeText:
    """Return the first ids of some rows and the number of the others, as ` (id-1, id-2 and 5 more)`.

    Args:
        ids: those that are known; without any the result is empty.
        count: number of rows, including those without a known id.
    """
    named = [shortened(id_, _ID_CELLS, keep="ends") for id_ in sorted(ids)[:_IDS_NAMED]]
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return SafeText(f" ({', '.join(named)}{more})" if named else "")
