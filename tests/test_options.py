"""What the command line accepts, and how it refuses the rest."""

from __future__ import annotations

import re

import pytest

from envwatch.options import Options, StopError, options_in


@pytest.mark.parametrize(
    "arguments",
    [
        ("--no-such",),
        ("--onl",),
        ("nonsense",),
        ("--interval", "0.99"),
        ("--interval", "601"),
        ("--interval", "nan"),
        ("--interval", "soon"),
        ("--page-size", "0"),
        ("--page-size", "1001"),
        ("--page-size", "9" * 5000),
        ("--source", "elsewhere"),
        ("--user", ""),
        ("--user", "a\nb"),
        ("demo", "--size", "-1"),
        ("demo", "--size", "100001"),
        ("demo", "--seed", "x"),
        ("list", "-o", "xml"),
        ("list", "--size", "5"),
        ("list", "--interval", "5"),
        ("--interval", "5", "list"),
        ("list", "json"),
    ],
)
def test_options_that_make_no_sense_are_one_line_with_the_way_to_the_help(arguments: tuple[str, ...]) -> None:
    with pytest.raises(StopError) as caught:
        options_in(arguments)
    assert caught.value.code == 2
    assert re.fullmatch(r"[^\n]+; see `envwatch( list| demo)? --help`", caught.value.line)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--interval", "1", "--page-size", "1"),
        ("--interval=600", "--page-size=1000", "--source", "local"),
        ("demo", "--size", "0", "--seed", "0"),
        ("demo", "--size", "100000", "--interval", "2.5"),
        ("list", "--online-only", "-o", "jsonl"),
    ],
)
def test_the_bounds_themselves_are_allowed(arguments: tuple[str, ...]) -> None:
    assert isinstance(options_in(arguments), Options)


def test_options_before_a_command_hold_for_it_too() -> None:
    options = options_in(["--page-size", "7", "--ascii", "demo", "--page-size", "8"])
    assert (options.page_size, options.ascii, options.command) == (8, True, "demo")
