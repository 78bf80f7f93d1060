"""Foreign text for terminals, spreadsheets and readers, the width, and the makers of a `SafeText`."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import unicodedata
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from support.budget import examples
from wcwidth import wcswidth, wcwidth

from envwatch.model.text import (
    SafeText,
    cells,
    clean,
    clean_key,
    cleaned,
    composed,
    counted,
    csv_cell,
    did_you_mean,
    enumerated,
    fitted,
    has_emoji_side_by_side,
    is_hashed,
    look_alikes,
    named_ids,
    natural_key,
    shortened,
    sliced,
    words_of,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue


LONGEST, MARKS, DEPTH, BITS = 1024, 2, 32, 13_000

Keep = Literal["start", "ends", "end"]

FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

NASTY = (
    "\x00\x07\x08\t\n\r\x1b\x7f\x85\x9b\x9d\xa0\xad\u034f\u0301\u0e31\u0e34\u093f\u094d\u0bcd\u1100\u1161\u11a8\u115f"
    "\u1160\u200b\u200d\u200e\u2028\u2029\u202e\u2066\u20e3\u2630\u2800\u3000\u3164\ud800\udfff\ufe0e\ufe0f\ufeff\uffa0"
    "\uffff\U0001f1e9\U0001f1ea\U0001f3fd\U0001f44d\U0001f469\U000e0001\U000e0100\U0010ffff\\漢字ｗé❤a1 "
)
SEQUENCES = (
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1b]0;owned",
    "\x1b[31",
    "\x9b2J",
    "\x1bP+q\x1b\\",
    "[@click=app.quit]x[/]",
    "\U0001f469\u200d\U0001f4bb",
    "e\u0301\u0302\u0303\u0304",
    "क्ष्म",
    "\U0001f1e9\U0001f1ea",
    "feat/login",
)
CHARACTERS = st.one_of(st.characters(exclude_categories=()), st.sampled_from(NASTY))
ANYTHING = st.lists(st.one_of(CHARACTERS, st.sampled_from(SEQUENCES)), max_size=24).map("".join)
CLEAN = ANYTHING.map(clean)
WIDTHS = st.integers(min_value=-2, max_value=60)
KEEPS: st.SearchStrategy[Keep] = st.sampled_from(("start", "ends", "end"))

quick = settings(max_examples=examples(150), deadline=None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\U0001f4bb"),
        ("\U0001f469\u200d\u2764\ufe0f\u200d\U0001f469", "\U0001f469\u2764\U0001f469"),
        ("\U0001f469\U0001f3fd\u200d\U0001f4bb", "\U0001f469\\U0001f3fd\U0001f4bb"),
        ("a\u200db", "a\\u200db"),
        ("\U0001f469\u200d", "\U0001f469\\u200d"),
        ("\u200d\U0001f469", "\\u200d\U0001f469"),
        ("\U0001f469\u200d\u200d\U0001f4bb", "\U0001f469\\u200d\\u200d\U0001f4bb"),
        ("\U0001f469\u200da", "\U0001f469\\u200da"),
        ("\U0001f469\U0001f3fd\ufe0f\u200d\U0001f4bb", "\U0001f469\\U0001f3fd\U0001f4bb"),
        ("\U0001f469\ufe0f\ufe0f\ufe0f\u200d\U0001f4bb", "\U0001f469\\u200d\U0001f4bb"),
        ("\u2800\u200d\U0001f469", "\\u2800\\u200d\U0001f469"),
        ("\U0001f469\u202e\U0001f4bb", "\U0001f469\\u202e\U0001f4bb"),
    ],
)
def test_a_joiner_is_left_out_between_emoji_and_visible_elsewhere(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert clean(shown) == shown


def is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


# Cleaning


@quick
@given(ANYTHING)
@example("\x1b]52;c;" + "A" * 5000)
@example("a" + "\u0301" * 10_000)
@example("\u0301" * 10_000)
@example("\x00" * 2000)
@example("\ufe0f" * 2000)
def test_cleaned_text_holds_nothing_for_a_terminal_to_obey_or_hide(text: str) -> None:
    shown = clean(text)
    assert FORBIDDEN.isdisjoint(map(unicodedata.category, shown))
    assert shown.isprintable()
    assert len(shown) <= LONGEST
    assert clean(shown) == shown
    assert not is_mark(shown[:1] or "a")
    assert not any(all(map(is_mark, shown[at : at + MARKS + 1])) for at in range(len(shown) - MARKS))


@quick
@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_printable_ascii_comes_back_unchanged(text: str) -> None:
    assert clean(text) is text


@quick
@given(ANYTHING)
@example("web-1 · 3 of 47 → ● “nas” — 東京 한국 Đặng Σ ключ")
def test_a_text_is_cleaned_as_its_characters_are_one_by_one(text: str) -> None:
    """A control character at the end makes `clean` judge every character."""
    assert clean(text + "\x1b") == clean(text) + r"\x1b"


def test_a_character_is_cleaned_alone_as_within_an_unsafe_text() -> None:
    for character in map(chr, chain(range(0x10000), range(0x1F000, 0x20000))):
        assert clean(f"{character}\x1b") == clean(character) + r"\x1b"


@quick
@given(ANYTHING)
@example("\U0001f1e9" * 5000)
def test_composed_text_is_cleaned_and_never_cut(text: str) -> None:
    assert composed(text) == clean(text, 50_000)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;eA==\x07", r"\x1b]52;c;eA==\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x00\x7f", r"\x00\x7f"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\U000e0001", r"\U000e0001"),
        ("\ud83d", r"\ud83d"),
        ("two\xa0words", r"two\xa0words"),
        ("\u3164\u2800", r"\u3164\u2800"),
        ("a\ufe00b\U000e0100", r"a\ufe00b\U000e0100"),
        ("\U0001f1e9\U0001f1ea", r"\U0001f1e9\U0001f1ea"),
        ("\U0001f44d\U0001f3fd", "\U0001f44d" + r"\U0001f3fd"),
        ("❤\ufe0f⌚\ufe0e", "❤⌚"),
        ("C:\\new", "C:\\new"),
        ("Straße 東京 Đặng กำลัง한국 ● ▁", "Straße 東京 Đặng กำลัง한국 ● ▁"),
    ],
)
def test_what_is_unsafe_is_shown_as_an_escape_and_the_rest_stays(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("e\u0302\u0301x", "e\u0302\u0301x"),
        ("e\u0302\u0301\u0300x", "e\u0302\u0301…x"),
        ("e\u0302\u0301\ufe0f\u0300\u0300\u0300x\u0300", "e\u0302\u0301…x\u0300"),
        ("\u0301e", r"\u0301e"),
        ("\x1b\u0301\u0301e\u0301", r"\x1b\u0301\u0301" + "e\u0301"),
        ("\ufe0f\u0301", r"\u0301"),
        ("\u1112\u1161\u11ab", "\u1112\u1161\u11ab"),
    ],
)
def test_a_character_carries_two_marks_and_none_stands_alone(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("a" * LONGEST, LONGEST, "a" * LONGEST),
        ("a" * (LONGEST + 1), LONGEST, "a" * (LONGEST - 1) + "…"),
        ("漢" * LONGEST, LONGEST, "漢" * LONGEST),
        ("漢" * (LONGEST + 1), LONGEST, "漢" * (LONGEST - 1) + "…"),
        ("ab\x1b", 6, r"ab\x1b"),
        ("abc\x1b", 6, r"abc\x…"),
        ("\x1b", 1, "…"),
        ("ab\ufe0f", 3, "ab"),
        ("abc\ufe0f", 3, "ab…"),
    ],
)
def test_text_is_cut_past_the_limit_with_its_escapes_and_says_so(text: str, limit: int, shown: str) -> None:
    assert clean(text, limit) == shown
    assert limit != LONGEST or clean(text) == shown


# Width


PLANE = 0x1_0000
ASSIGNED = (0, 1, 14)
"""Planes of many scripts and of marks; further planes have only ideographs, private or unassigned characters."""


@pytest.mark.parametrize(
    "planes",
    [ASSIGNED, pytest.param(sorted({*range(17)} - {*ASSIGNED}), marks=pytest.mark.slow)],
    ids=["assigned", "others"],
)
def test_every_clean_code_point_has_one_width_for_all_libraries(planes: Sequence[int]) -> None:
    assert len(planes) in {len(ASSIGNED), (sys.maxunicode + 1) // PLANE - len(ASSIGNED)}
    for point in (start + place for start in (plane * PLANE for plane in planes) for place in range(PLANE)):
        character = chr(point)
        text = clean("a" + character)
        if len(text) == 2:
            assert cells(text) == cell_len(text) == wcswidth(text) == 1 + wcwidth(character), hex(point)
        else:
            assert text.isascii(), hex(point)


@quick
@given(ANYTHING)
def test_rich_and_wcwidth_measure_cleaned_text_as_we_do(text: str) -> None:
    shown = clean(text)
    assert cells(shown) == cell_len(shown) == wcswidth(shown) == sum(map(wcwidth, shown))
    assert cells(shown + shown) == 2 * cells(shown) == cell_len(shown + shown)


@quick
@given(CLEAN, WIDTHS, KEEPS, st.sampled_from(("…", "..", "")))
def test_shortened_text_fits_and_is_whole_with_enough_room(
    text: SafeText, width: int, keep: Keep, ellipsis: str
) -> None:
    short = shortened(text, width, keep=keep, ellipsis=ellipsis)
    room = max(width, 0)
    if cells(text) <= room:
        assert short is text
    else:
        # A wide character that does not fit leaves one cell free, at each kept end.
        assert room - (2 if keep == "ends" else 1) <= cells(short) <= room
    assert cell_len(short) == cells(short)
    assert not is_mark(short[:1] or "a")
    assert clean(short) == short


@pytest.mark.parametrize(
    ("text", "width", "keep", "short"),
    [
        ("feat/login", 10, "start", "feat/login"),
        ("feat/login", 8, "start", "feat/lo…"),
        ("feat/login", 1, "start", "…"),
        ("feat/login", 0, "start", ""),
        ("feat/login", -1, "ends", ""),
        ("sandbox-30f97058-aaaa-4c3a", 16, "ends", "sandbox-30f9…c3a"),
        ("sandbox-30f97058-aaaa-4c3a", 20, "ends", "sandbox-30f97058…c3a"),
        ("abcdef", 4, "ends", "ab…f"),
        ("abcdef", 3, "ends", "a…f"),
        ("abcdef", 2, "ends", "a…"),
        ("~/code/portal", 8, "end", "…/portal"),
        ("東京都", 6, "start", "東京都"),
        ("東京都", 5, "start", "東京…"),
        ("東京都", 4, "start", "東…"),
        ("東京都", 4, "end", "…都"),
        ("xe\u0301y", 2, "end", "…y"),
        ("xyze\u0301", 2, "end", "…e\u0301"),
        ("e\u0301xyz", 2, "start", "e\u0301…"),
    ],
)
def test_text_is_cut_at_its_least_telling_part(text: str, width: int, keep: Keep, short: str) -> None:
    assert shortened(clean(text), width, keep=keep) == short


@pytest.mark.parametrize(
    ("width", "ellipsis", "short"), [(3, "...", "..."), (2, "...", ".."), (4, "...", "a..."), (-1, "..", "")]
)
def test_an_ellipsis_wider_than_the_column_is_cut_itself(width: int, ellipsis: str, short: str) -> None:
    assert shortened(clean("abcdef"), width, ellipsis=ellipsis) == short


@quick
@given(CLEAN, WIDTHS, KEEPS, st.booleans())
def test_fitted_text_is_as_wide_as_asked(text: SafeText, width: int, keep: Keep, right: bool) -> None:  # noqa: FBT001 - drawn
    fit = fitted(text, width, keep=keep, align="right" if right else "left")
    assert cells(fit) == cell_len(fit) == max(width, 0)
    assert (fitted(clean("4m"), 4), fitted(clean("4m"), 4, align="right")) == ("4m  ", "  4m")


# JSON

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), ANYTHING)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner, max_size=3), max_leaves=8
)


def strings_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for part in item for text in strings_of(part)]
    if isinstance(value, list):
        return [text for item in value for text in strings_of(item)]
    return [value] if isinstance(value, str) else []


def nested(levels: int) -> JsonValue:
    value: JsonValue = "leaf"
    for level in range(levels):
        value = [value] if level % 2 else {"key": value}
    return value


@quick
@given(VALUES)
def test_a_cleaned_value_has_clean_keys_and_strings_and_keeps_its_shape(value: Any) -> None:
    result = cleaned(value)
    assert all(clean(text) == text for text in strings_of(result))
    assert type(result) is type(value)
    if not isinstance(value, (dict, list, str)):
        assert result == value
    placed: JsonValue = {"a\x1b": ["\u202e", value, None, {"b": "c"}]}
    assert cleaned(placed) == {r"a\x1b": [r"\u202e", result, None, {"b": "c"}]}


@pytest.mark.parametrize("keys", [("os", "os\ufe0f"), ("os\ufe0f", "os")])
def test_a_doctored_key_never_takes_the_place_of_a_clean_one(keys: tuple[str, str]) -> None:
    assert cleaned({key: len(key) for key in keys}) == {"os": len("os")}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_of_thirteen_thousand_bits_is_the_largest(sign: int) -> None:
    assert cleaned(sign * (2**BITS - 1)) == sign * (2**BITS - 1)
    assert str(cleaned(sign * (2**BITS - 1)))
    with pytest.raises(ValueError, match="13000 bits"):
        cleaned([sign * 2**BITS])


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", '{"a": [NaN]}'])
def test_an_infinite_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not finite"):
        cleaned(json.loads(text))


def test_nesting_is_bounded() -> None:
    assert cleaned(nested(DEPTH)) == nested(DEPTH)
    with pytest.raises(ValueError, match="nesting"):
        cleaned(nested(DEPTH + 1))


# Spreadsheets

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "＝1", "＋1", "－1", "＠A", "﹦1", " ＝1", "=\u03381"]
HARMLESS = ["", "   ", "web-1", "a=b", "–", "12:40+01", "\\t=1"]


@pytest.mark.parametrize(
    ("text", "cell"), [(text, f"'{text}") for text in FORMULAS] + [(text, text) for text in HARMLESS]
)
def test_a_formula_becomes_text_in_a_spreadsheet_and_other_text_stays(text: str, cell: str) -> None:
    assert csv_cell(clean(text)) == cell


@quick
@given(ANYTHING)
def test_no_cell_starts_like_a_formula(text: str) -> None:
    cell = csv_cell(clean(text))
    assert not unicodedata.normalize("NFKC", cell).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


# Names that look alike

TWINS = ["sеrver-10", "SERVER-10", "server-1O", "server-l0", "server-I0", "ｓerver-10", "sérver-10", "server‐10"]
PAIRS = [
    ("barn", "bam"),
    ("vvest", "west"),
    ("ΑΡΙ", "API"),
    ("НОСТ", "HOCT"),
    ("ﬁle", "file"),
    ("a  b", "a b"),
    ("ı", "1"),
]


@pytest.mark.parametrize(
    ("left", "right"), [*PAIRS, ("ı", "1"), *(("server-10", twin) for twin in [*TWINS, "server-10 "])]
)
def test_a_name_like_another_is_found_with_its_twin(left: str, right: str) -> None:
    """One name twice resembles nothing."""
    names = [clean(name) for name in (left, right, "server-11", "server-01", "server-01")]
    assert look_alikes(names) == {left, right}


@quick
@given(st.lists(CLEAN, max_size=6))
def test_the_order_of_names_decides_nothing(names: list[SafeText]) -> None:
    found = look_alikes(names)
    assert found == look_alikes(reversed(names)) <= set(names)
    assert len(found) != 1


@quick
@given(CLEAN)
def test_the_parts_of_a_text_are_the_text(text: SafeText) -> None:
    assert " ".join(words_of(text)) == " ".join(text.split())
    halves = (sliced(text, 0, len(text) // 2), sliced(text, len(text) // 2))
    assert "".join(halves) == text


def test_cleaning_needs_no_terminal_library() -> None:
    code = (
        "import sys, envwatch.model.text; "
        "print(sorted({'textual', 'rich', 'httpx', 'wcwidth', 'pydantic'}.intersection(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("word", "similarity", "said"),
    [
        ("versoin", 0.6, "; did you mean version?"),
        ("pods", 0.6, "; did you mean pod?"),
        ("pods", 0.9, ""),
        ("xyz", 0.6, ""),
    ],
)
def test_the_most_similar_known_word_is_offered(word: str, similarity: float, said: str) -> None:
    known = ["name", "pod", "version", "versions"]
    assert did_you_mean(word, known, similarity=similarity) == said
    assert similarity != 0.6 or did_you_mean(word, known) == said


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 5, [""]),
        ("ab cd", 5, ["ab cd"]),
        ("ab cd", 4, ["ab", "cd"]),
        ("abc d", 3, ["abc", "d"]),
        ("abcd", 4, ["abcd"]),
        ("abcde f", 4, ["abcd", "e f"]),
        ("ab cdefgh", 3, ["ab", "cde", "fgh"]),
        ("  a   b  ", 9, ["a b"]),
        ("東京 東", 7, ["東京 東"]),
        ("東京 東", 6, ["東京", "東"]),
        # A pane is drawn before the first layout gives the pane cells.
        *(("東京 build", width, ["東", "京", "bu", "il", "d"]) for width in (-3, 0, 1, 2)),
    ],
)
def test_a_text_is_wrapped_at_spaces_and_within_longer_words(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(clean(text), width) == lines


@quick
@given(CLEAN, st.integers(2, 20))
def test_wrapped_lines_fit_and_keep_every_character(text: SafeText, width: int) -> None:
    lines = wrapped(text, width)
    assert all(cells(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(text.split())


@pytest.mark.parametrize(
    "names",
    [
        ["web-2", "web-10", "web-10a", "web-11", "web-100"],
        ["7", "08", "9", "10"],
        ["a", "B", "c"],
        ["web", "web-0", "web-1"],
    ],
)
def test_names_are_ordered_by_their_numbers_and_without_case(names: list[str]) -> None:
    mixed = names[::-1]
    assert sorted(mixed, key=natural_key) == names
    assert natural_key("Web-007") == natural_key("web-7")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 pages"), (1, "1 page"), (2, "2 pages"), (1_024, "1,024 pages"), (10**6, "1,000,000 pages")],
)
def test_a_count_has_a_noun(count: int, text: str) -> None:
    assert counted(count, "page") == text


@pytest.mark.parametrize(
    ("names", "count", "text"),
    [
        ([], 0, ""),
        (["a"], 1, "a"),
        (["a", "b"], 2, "a, b"),
        (["a", "b"], 3, "a, b and 1 more"),
        (["a"], 1_235, "a and 1,234 more"),
    ],
)
def test_the_first_of_many_names_are_listed_with_the_number_of_the_rest(
    names: list[str], count: int, text: str
) -> None:
    assert enumerated(names, count) == text


@pytest.mark.parametrize(
    ("ids", "count", "text"),
    [
        ([], 0, ""),
        ([], 5, ""),
        (["b", "a"], 2, " (a, b)"),
        (["b", "a"], 3, " (a, b and 1 more)"),
        (["c", "b", "a"], 3, " (a, b, c)"),
        (["d", "c", "b", "a"], 4, " (a, b, c and 1 more)"),
        (["x" * 40], 1, f" ({'x' * 40})"),
        (["x" * 34 + "1234567"], 1, f" ({'x' * 32}…1234567)"),
    ],
)
def test_three_ids_of_forty_cells_are_named_with_the_number_of_the_rest(ids: list[str], count: int, text: str) -> None:
    assert named_ids([clean(id_) for id_ in ids], count) == text


@pytest.mark.parametrize(
    ("text", "has_pair"),
    [
        *(("\U0001f469\U0001f4bb", True), ("a\U0001f469\u2764b", True)),
        *((text, False) for text in ("\U0001f469 \U0001f4bb", "\U0001f469", "ab", "éé")),
    ],
)
def test_two_emoji_side_by_side_may_lack_a_joiner(text: str, *, has_pair: bool) -> None:
    assert has_emoji_side_by_side(clean(text)) is has_pair


@pytest.mark.parametrize(
    ("text", "looks_hashed"),
    [
        *(("a~12345678", True), ("~12345678", True)),
        *((text, False) for text in ("a~1234567", "a~123456789", "12345678", "")),
    ],
)
def test_a_key_with_the_look_of_a_hash_gets_a_hash_like_a_key_changed_by_cleaning(
    text: str, *, looks_hashed: bool
) -> None:
    assert is_hashed(text) is looks_hashed
    assert (clean_key(text) != text) is looks_hashed
    assert is_hashed(clean_key(f"{text}\x1b"))


def test_a_key_is_no_longer_than_a_text() -> None:
    for length in (1_014, 1_015, 1_016, LONGEST):
        assert len(clean_key("x" * (length - 1) + "\u202e")) <= LONGEST
    assert clean_key("x" * LONGEST) == "x" * LONGEST
    assert len(clean_key("x" * (LONGEST + 1))) == LONGEST


# Only the cleaning functions make a `SafeText`: no other code calls the type or casts to the type

ROOT: Final = Path(__file__).parents[2]

MAKERS: Final = ("envwatch/model/text.py", "tests/support/builders.py")

MODULES: Final = sorted(
    path.relative_to(ROOT).as_posix() for folder in ("envwatch", "tests") for path in (ROOT / folder).rglob("*.py")
)


def casts_in(source: str) -> Iterator[str]:
    """Yield each call of `SafeText`, each call with `SafeText` as an argument (such as `map`), and each cast to the
    type.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            given = [node.func, *node.args, *(keyword.value for keyword in node.keywords)]
            names = [ast.unparse(each).rpartition(".")[2] for each in given]
            if "SafeText" in names or (names[0] == "cast" and "SafeText" in ast.unparse(node.args[0])):
                yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "source",
    [
        "SafeText(name)",
        "text.SafeText(name)",
        "map(SafeText, names)",
        "Counter(name, key=SafeText)",
        'cast("SafeText", name)',
        'typing.cast("list[SafeText] | None", names)',
        "cast(SafeText, name)",
    ],
)
def test_every_way_to_make_a_safe_text_without_cleaning_is_found(source: str) -> None:
    assert len([*casts_in(source)]) == 1


@pytest.mark.parametrize("source", ['clean("SafeText")', "names: list[SafeText] = []", "def f(x: SafeText): ..."])
def test_a_type_by_name_only_is_no_cast(source: str) -> None:
    assert not [*casts_in(source)]


def test_only_cleaning_functions_make_a_safe_text() -> None:
    modules = [module for module in MODULES if not module.startswith(MAKERS)]
    assert len(modules) > 400
    sources = {module: (ROOT / module).read_text() for module in modules}
    found = {module: [*casts_in(source)] for module, source in sources.items() if "SafeText" in source}
    assert {module: casts for module, casts in found.items() if casts} == {}
