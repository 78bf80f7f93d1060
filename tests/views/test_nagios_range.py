"""Ranges against the Monitoring Plugins Development Guidelines."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from envwatch.views.output.check_result import parse_nagios_range

NUMBERS = st.decimals(-1_000_000, 1_000_000, places=3).map(lambda number: f"{number:f}")
VALUES = st.floats(-2_000_000, 2_000_000)


def alerting(text: str, *values: float) -> list[bool]:
    return [parse_nagios_range(text).alerts(value) for value in values]


# The table "Example ranges" of the guidelines: "generate an alert if x ..."


def test_the_guidelines_examples() -> None:
    assert alerting("10", -0.001, 0, 10, 10.001) == [True, False, False, True]  # < 0 or > 10
    assert alerting("10:", 9.999, 10, inf) == [True, False, False]  # < 10
    assert alerting("~:10", -inf, 10, 10.001) == [False, False, True]  # > 10
    assert alerting("10:20", 9.999, 10, 20, 20.001) == [True, False, False, True]  # < 10 or > 20
    assert alerting("@10:20", 9.999, 10, 20, 20.001) == [False, True, True, False]  # >= 10 and <= 20


@given(NUMBERS, NUMBERS, VALUES)
def test_a_range_alerts_outside_and_with_at_inside(start: str, end: str, value: float) -> None:
    assume(float(start) <= float(end))
    is_inside = float(start) <= value <= float(end)
    assert alerting(f"{start}:{end}", value) == [not is_inside]
    assert alerting(f"@{start}:{end}", value) == [is_inside]


@given(NUMBERS, VALUES)
def test_what_is_left_out_is_zero_or_infinity(number: str, value: float) -> None:
    limit = float(number)
    assert alerting(f"{number}:", value) == [value < limit]
    assert alerting(f"~:{number}", value) == [value > limit]
    if limit >= 0:
        assert alerting(number, value) == alerting(f"0:{number}", value) == alerting(f":{number}", value)


@pytest.mark.parametrize(
    "text", ["", "@", "~", "x", "1:2:3", "10:~", "20:10", "-1", "@~", "1,5", "٣", " 1", "1 ", "nan", "inf", "9" * 65]
)
def test_everything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(an empty text|.{1,16}) is no range"):
        parse_nagios_range(text)
    assert parse_nagios_range("9" * 64).end == float("9" * 64)


@pytest.mark.parametrize(("text", "start", "end"), [("20:10", "20", "10"), ("-1", "0", "-1"), (":-2", "0", "-2")])
def test_a_start_above_its_end_is_named(text: str, start: str, end: str) -> None:
    with pytest.raises(ValueError, match=rf"its start, {start}, is greater than its end, {end}$"):
        parse_nagios_range(text)


@given(st.text(alphabet="0123456789.:@~+- x", max_size=12))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parsed = parse_nagios_range(text)
    except ValueError:
        return
    assert parsed.text == text
    assert parsed.start <= parsed.end
