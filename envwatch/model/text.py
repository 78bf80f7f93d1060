r"""Cleaning, measuring and cutting of untrusted text for a terminal.

`clean` keeps only characters on whose width Unicode's tables, Rich and wcwidth agree, so that columns stay aligned.
Flags, skin tones, and vowel signs and viramas of Indian scripts become escapes. Joined emoji stand side by side,
because terminals disagree about the joined width. Ambiguous width counts as narrow.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NewType
from unicodedata import category, combining, east_asian_width, normalize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pydantic import JsonValue

SafeText = NewType("SafeText", str)
"""Clean text, made only here; the only text for widgets, logs and exports."""

EMPTY: Final = SafeText("")

LONGEST: Final = 1024
"""Most characters of a text; 100,000 texts must fit into memory."""

MARKS: Final = 2
"""Most combining marks on a character: Vietnamese and Thai need two."""

DEPTH: Final = 32
"""Most levels of nesting in JSON; metadata has three."""

BITS: Final = 13_000
"""Largest whole number: 3,914 digits; Python prints up to 4,300."""

_ELLIPSIS: Final = "…"
_HASH_MARK: Final = "~"
_HASH_DIGITS: Final = 8
"""Two keys that look alike collide once in four billion."""

# Presentation hints (VS15, VS16) are left out: only some terminals widen the character before.
_HINTS: Final = "\ufe0e\ufe0f"

_JOINER: Final = "\u200d"
_SKIN_TONES: Final = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"

# Blank characters that `isprintable` accepts, such as fillers, variation selectors and blank braille. Names could
# differ invisibly, and selectors can carry messages.
_BLANK: Final = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0"
    "\U00016fe4\U0001d159\U000e0100-\U000e01ef"
)

# Unicode 16 widened trigrams, hexagrams and counting rods, and made an Ahom vowel sign spacing. Terminals disagree
# about regional indicators and skin tones.
_DISPUTED: Final = (
    "\u2630-\u2637\u268a-\u268f\u4dc0-\u4dff\U0001171e\U0001d300-\U0001d356\U0001d360-\U0001d376"
    "\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff"
)
_ESCAPED: Final = re.compile(f"[{_BLANK}{_DISPUTED}]")

# The fast path of `clean`: frequent scripts, signs and emoji, without marks.
_HARMLESS: Final = re.compile(
    r"[ -~\xa1-\xac\xae-\u02ff\u0391-\u03a1\u03a3-\u03c9\u0400-\u0482\u048a-\u052f\u05d0-\u05ea\u0621-\u063a"
    r"\u0641-\u064a\u1e00-\u1eff\u2010-\u2027\u2030-\u205e\u2190-\u22ff\u2500-\u262f\u2638-\u2689\u2690-\u27bf"
    r"\u3001-\u3029\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff9f"
    r"\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6c5\U0001f90c-\U0001f9ff]*+"
)

# wcwidth merges the characters around a virama; Rich and most terminals do not.
_VIRAMA: Final = 9


def clean(text: str, limit: int = LONGEST) -> SafeText:
    r"""Return text that a terminal can only show: no control, no invisible character, at most `limit` characters.

    A character becomes an escape (`\x1b`, `\u202e`) if `str.isprintable` refuses the character, if the width is
    disputed, or if a mark has no base. `…` replaces marks beyond `MARKS` and ends a cut text. A backslash is kept, so
    cleaning is idempotent. `text` may contain lone surrogates; `limit` is at least 1.
    """
    if len(text) <= limit and (text.isprintable() if text.isascii() else _HARMLESS.fullmatch(text)):
        return SafeText(text)
    pieces = []
    carried: int | None = None  # marks on the character before; None without a base
    for place, character in enumerate(text[:limit]):
        piece = "" if character == _JOINER and _joins_emoji(text, place) else _piece(character)
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
    """Return a composition of clean texts, of any length."""
    if text.isprintable() if text.isascii() else _HARMLESS.fullmatch(text):  # inlined, as a call costs as much
        return SafeText(text)
    return clean(text, sys.maxsize)


def clean_key(text: str) -> SafeText:
    """Return a clean key, distinct for distinct texts: a changed or hashed-looking text ends with hash digits."""
    if not is_hashed(text) and clean(text) == text:
        return SafeText(text)
    from hashlib import sha256  # noqa: PLC0415 - OpenSSL would delay the help

    end = _HASH_MARK + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return SafeText(clean(text, LONGEST - len(end)) + end)


def is_hashed(text: str) -> bool:
    """Whether a text may end with a hash of `clean_key`."""
    return text[-_HASH_DIGITS - 1 : -_HASH_DIGITS] == _HASH_MARK


def cleaned(value: JsonValue) -> JsonValue:
    """Return a decoded JSON value with clean keys and strings.

    If cleaning makes two keys equal, the already clean key wins.

    Raises:
        ValueError: for NaN, an infinite number, a number over `BITS`, or nesting over `DEPTH`.
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
    """Return a clean text's width in terminal cells."""
    return len(text) if text.isascii() else _cells(text)


def shortened(
    text: SafeText, width: int, *, keep: Literal["start", "ends", "end"] = "start", ellipsis: str = _ELLIPSIS
) -> SafeText:
    """Return a text cut to at most `width` cells, with an ellipsis if cut.

    `keep` is the start (`feat/lo…`), both ends with more of the start (`sandbox-30f9…c3a`), or the end (`…/portal`).
    ASCII terminals need the ellipsis `..`.
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
    # The last three characters distinguish two ids.
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
    """Return a text cut or padded to exactly `width` cells; see `shortened`."""
    taken = cells(text)
    if taken > width:
        text = shortened(text, width, keep=keep, ellipsis=ellipsis)
        taken = cells(text)
    padding = " " * (width - taken)
    return SafeText(text + padding if align == "left" else padding + text)


def wrapped(text: SafeText, width: int) -> list[SafeText]:
    """Return lines of at most `width` cells, at least 2 for a wide character, broken at spaces or within long words."""
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


def natural_key(text: str) -> str:
    """Return a sort key without case, with web-2 before web-10."""

    def sized(number: re.Match[str]) -> str:
        digits = number[0].lstrip("0")
        return chr(ord("0") + len(digits)) + digits

    return _NUMBER.sub(sized, text.casefold())


def words_of(text: SafeText) -> list[SafeText]:
    """Return the words between spaces."""
    return [SafeText(word) for word in text.split()]


def sliced(text: SafeText, start: int, stop: int | None = None) -> SafeText:
    """Return a slice, perhaps with a combining mark at the start."""
    return SafeText(text[start:stop])


def csv_cell(text: SafeText) -> str:
    """Return a text that no spreadsheet runs as a formula, with an apostrophe if needed (OWASP's rule).

    Without `csv.QUOTE_ALL`, a `;` would start a cell.
    """
    start = text.lstrip(" ")[:1]
    return f"'{text}" if start and normalize("NFKC", start)[0] in "=+-@" else text


def one_line(raw: object) -> str:
    """Return a non-empty line of text, stripped.

    Raises:
        ValueError: with the end of a sentence.
    """
    if isinstance(raw, str) and raw.strip() and raw.isprintable():
        return raw.strip()
    raise ValueError("must be a text of one line")


def counted(count: int, noun: str) -> SafeText:
    """Return `1 page` or `1,024 pages`."""
    return SafeText(f"{count:,} {noun}{'' if count == 1 else 's'}")


def enumerated(names: Sequence[str], count: int) -> str:
    """Return the first of `count` names: `a, b and 12 more`."""
    more = count - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def did_you_mean(word: str, known: Iterable[str], *, similarity: float = 0.6) -> str:
    """Return `; did you mean WORD?`, or an empty text without a known word above `similarity`."""
    found = nearest_word(word, known, similarity=similarity)
    return f"; did you mean {found}?" if found else ""


def nearest_word(word: str, known: Iterable[str], *, similarity: float = 0.6) -> str:
    """Return the most similar known word, or an empty text without one above `similarity` (`difflib`'s cutoff)."""
    from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=similarity)), "")


def look_alikes(names: Iterable[SafeText]) -> frozenset[SafeText]:
    """Return the names that look like a different name.

    Case, accents, compatibility forms and runs of spaces make no difference, nor do similar letters (`_LATIN`,
    `_ONE_FORM`).
    """
    skeletons = {name: _skeleton(name) for name in names}
    counts = Counter(skeletons.values())
    return frozenset(name for name, skeleton in skeletons.items() if counts[skeleton] > 1)


@lru_cache(maxsize=4096)
def _piece(character: str) -> str:
    if character in _HINTS:
        return ""
    is_undisputed = category(character) != "Mc" and combining(character) != _VIRAMA and not _ESCAPED.match(character)
    return character if is_undisputed and character.isprintable() else _escape(character)


def _joins_emoji(text: str, place: int) -> bool:
    before = text[max(place - 3, 0) : place].rstrip(_HINTS + _SKIN_TONES)
    return _is_emoji(before[-1:]) and _is_emoji(text[place + 1 : place + 2])


def has_emoji_side_by_side(text: SafeText) -> bool:
    """Whether `clean` may have left out a joiner."""
    return not text.isascii() and any(_is_emoji(one) and _is_emoji(other) for one, other in pairwise(text))


def _is_emoji(character: str) -> bool:
    return bool(character) and category(character) == "So" and _piece(character) == character


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    """Return 0 for marks, and for vowels and finals of decomposed Hangul."""
    if category(character) in {"Mn", "Me"} or "\u1161" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7ff":
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


@lru_cache(maxsize=1024)
def _cells(text: str) -> int:
    return sum(map(_width, text))


def _head(text: str, room: int) -> str:
    if text.isascii():
        return text[: max(room, 0)]
    for index, character in enumerate(text):
        room -= _width(character)
        if room < 0:
            return text[:index]
    return text


def _tail(text: str, room: int) -> str:
    if text.isascii():
        return text[len(text) - room :]
    start = len(text)
    for index in reversed(range(len(text))):
        width = _width(text[index])
        room -= width
        if room < 0:
            break
        if width:
            start = index
    return text[start:]


# Capital and small letters differ: Ν looks like N, ν like v.
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


def named_ids(ids: Collection[SafeText], count: int) -> SafeText:
    """Return the first ids and the number of the rest up to `count`: ` (id-1, id-2 and 5 more)`."""
    named = [shortened(id_, _ID_CELLS, keep="ends") for id_ in sorted(ids)[:_IDS_NAMED]]
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return SafeText(f" ({', '.join(named)}{more})" if named else "")
