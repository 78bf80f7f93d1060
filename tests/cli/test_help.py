"""`envwatch help`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.parsers import parsers

from envwatch.cli.arguments import Exit

if TYPE_CHECKING:
    from support.in_process import Envwatch


@pytest.mark.parametrize("name", ["", *parsers()])
def test_help_prints_what_the_option_prints(envwatch: Envwatch, name: str) -> None:
    ended = envwatch("help", *name.split())
    assert ended == envwatch(*name.split(), "--help")
    assert (ended.code, ended.err) == (Exit.FINE, "")


def test_the_help_on_connections_has_their_options_and_variables(envwatch: Envwatch) -> None:
    out = envwatch("help", "connection").out
    flags = "--profile --config --page-size --[no-]online-only --source --user --log-file --log-level"
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  --")] == flags.split()
    variables = ("LETTA_API_KEY", "LETTA_BASE_URL", "ENVWATCH_CONFIG", "ENVWATCH_PROFILE", "ENVWATCH_INTERVAL")
    assert [name for name in variables if name not in out] == []
    assert max(map(len, out.splitlines())) < 80


def test_a_help_on_exit_codes_names_all(envwatch: Envwatch) -> None:
    words = envwatch("help", "exit-codes").out.split()
    assert [code for code in Exit if str(int(code)) not in words] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("lst", "there is no help on lst; did you mean list?"),
        ("conection", "there is no help on conection; did you mean connection?"),
        ("exit-code", "there is no help on exit-code; did you mean exit-codes?"),
        ("zzz", "there is no help on zzz; `envwatch help` lists all commands"),
        ("config shwo", "there is no action shwo; did you mean show? See `envwatch config --help`"),
    ],
)
def test_an_unknown_topic_is_answered_with_the_nearest(envwatch: Envwatch, words: str, line: str) -> None:
    ended = envwatch("help", *words.split())
    assert (ended.code, ended.line.partition("; see ")[0]) == (Exit.USAGE, line)
