"""README.md and docs/: the program accepts every example, every name exists, and every link has a target."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import Counter
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest
from support import programs
from support.budgets import BUDGETS
from support.documents import (
    README,
    ROOT,
    anchors,
    blocks,
    command_lines,
    links,
    lists,
    mentioned_commands,
    names,
    pages,
    prose,
    section,
    sentences,
    spans,
    tables,
)
from support.parsers import options_of, parsers
from support.pty_terminal import environment

from envwatch.cli.arguments import HelpRequested, StopError, options_in
from envwatch.config.hooks import HookSettings
from envwatch.config.schema import schema
from envwatch.query.fields import FIELDS
from envwatch.query.language import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES: Final = pages()

COMMANDS: Final = ("pip install uv && uv run envwatch demo", "pip install uv && uv run pytest")
"""Commands for newcomers, on which `.ci/run` and others rely."""

LONGEST_LINE: Final = 130
REPORT: Final = "docs/report.md"
"""Made by the program."""

FOR_CHANGES: Final = {"CONTRIBUTING.md", "docs/architecture.md", "docs/metrics.md", "docs/operators/README.md"}
"""Pages with names from the source or from other programs, covered by other tests."""

OTHER_PROGRAMS: Final = "docs/operators/"

PROMISED: Final = PAGES["docs/stability.md"]
GENERATED: Final = re.compile(r"<!-- \w+: made by docs/generate.py -->.*?<!-- end -->", re.DOTALL)

_WRITTEN_IN: Final = ("JSON", "Events", "Acknowledgements over HTTP")
WRITTEN: Final = set(chain.from_iterable(lists("".join(section(PROMISED, each) for each in _WRITTEN_IN)).values()))
"""Names in the program's output; tests/test_stability.py compares the names with the program."""


OF_OTHERS: Final = {"scrape_config", "dedup_key"}


def each(language: str) -> list[Any]:
    return [
        pytest.param(block.text, id=f"{name} {number}")
        for name, text in PAGES.items()
        for number, block in enumerate(blocks(text))
        if block.language == language and not name.startswith(OTHER_PROGRAMS)
    ]


def in_user_pages(pattern: str) -> set[str]:
    """Return the spans of all user pages that match a pattern as a whole."""
    found = chain.from_iterable(spans(text) for name, text in PAGES.items() if name not in FOR_CHANGES)
    return {span for span in found if re.fullmatch(pattern, span)}


# The first page.


def test_the_readme_takes_a_minute_and_begins_with_a_picture_and_the_commands() -> None:
    text = README.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 130
    assert [lines.count(command) for command in COMMANDS] == [1, 1]
    order = [
        "# envwatch",
        "![",
        *COMMANDS,
        "## What other tools lack",
        "| watcher |",
        "## Install",
        "## Use",
        "](docs/",
    ]
    places = [text.index(part) for part in order[:-1]] + [text.index(order[-1], text.index("## Use"))]
    assert places == sorted(places)


def test_the_animated_picture_is_small_and_shows_each_of_the_first_20_seconds() -> None:
    content = (ROOT / "docs/pictures/first-20-seconds.svg").read_bytes()
    captions = [text for text in ET.fromstring(content).iter() if text.get("class") == "caption"]
    assert [text.text for text in captions] == [f"{second} s" for second in range(21)]
    assert len(content) <= 1_000_000


def test_the_commands_of_the_readme_are_those_of_this_package() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert table["project"]["scripts"]["envwatch"] == "envwatch.cli.main:run_as_program"
    assert "pytest" in " ".join(table["dependency-groups"]["dev"])
    assert options_in(["demo"]).command == "demo"


# Examples.


def test_every_example_says_its_language() -> None:
    unnamed = [name for name, text in PAGES.items() for block in blocks(text, name) if not block.language]
    indented = [name for name, text in PAGES.items() if re.search(r"^\n {4}(?![*-]|\d)\S", prose(text), re.MULTILINE)]
    assert unnamed + indented == []


def refusal(arguments: list[str]) -> str:
    """Return the program's reason to refuse arguments; empty if accepted."""
    try:
        options = options_in(arguments)
    except HelpRequested:
        return ""
    except StopError as stop:
        return "missing" if re.search(" is missing; | needs a value; ", str(stop)) else str(stop)
    return "" if all(parse(query) for query in getattr(options, "query", [])) else "no query"


EXAMPLES: Final = {" ".join(call): call for text in PAGES.values() for call in command_lines(text)}
MENTIONS: Final = {" ".join(call): call for text in PAGES.values() for call in mentioned_commands(text)}


@pytest.mark.parametrize("arguments", [pytest.param(call, id=line or "none") for line, call in EXAMPLES.items()])
def test_every_command_line_is_accepted(arguments: list[str]) -> None:
    assert refusal(arguments) == ""


@pytest.mark.parametrize("arguments", [pytest.param(call, id=line) for line, call in MENTIONS.items()])
def test_every_command_in_the_text_is_accepted_but_for_missing_arguments(arguments: list[str]) -> None:
    words = [word for word in arguments if word not in {"…", "COMMAND"} and not word.startswith("[")]
    assert refusal(words) in {"", "missing"}


def test_every_option_in_the_text_exists() -> None:
    known = {"--help", "--version"}.union(*map(options_of, parsers().values()))
    own = {span for span in in_user_pages(r"--?[a-z][^`]*") if not span.startswith("-m ")}
    flags = {flag for span in own for flag in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", span)}
    assert {"--profile", "-o", "--since"} <= flags
    assert flags - known == set()


@pytest.mark.parametrize("text", each("toml"))
def test_every_example_of_a_configuration_file_is_valid(text: str, tmp_path: Path) -> None:
    (tmp_path / "inventory.txt").write_text("build-3\n")
    for name in re.findall(r'(?:api_key|serve_tokens)_file\s*= "(.+?)"', text):
        (tmp_path / name).write_text(
            "sk-let-0123456789abcdef\n" if "key" in name else "ann ew-0123456789abcdef0123456789\n"
        )
        (tmp_path / name).chmod(0o600)
    (tmp_path / "config.toml").write_text(text)
    command = [sys.executable, "-m", "envwatch", "config", "validate", f"--config={tmp_path / 'config.toml'}"]
    ended = programs.run(command, environment(tmp_path))
    assert (ended.returncode, ended.stdout.decode()) == (0, ""), ended.stderr.decode()


def json_names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from json_names(part)


@pytest.mark.parametrize("text", each("json"))
def test_every_name_in_an_example_of_json_is_a_name_of_the_program(text: str) -> None:
    assert set(json_names(json.loads(text))) - WRITTEN == set()


def test_every_name_in_a_program_for_jq_is_a_name_of_the_program() -> None:
    programs_for_jq = re.findall(r"jq -\w+ '(.+?)'", "\n".join(PAGES.values()))
    used = {name for program in programs_for_jq for name in re.findall(r"\.([a-z_]+)\b(?!\")", program)}
    assert {"name", "state", "environments", "fix"} <= used
    assert used - WRITTEN == set()


def test_every_filter_in_the_pages_can_be_parsed() -> None:
    field = rf"!?(?:{'|'.join(FIELDS)}|meta\.\w+):\S"
    queries = {block.text.strip() for text in PAGES.values() for block in blocks(text) if block.language == "filter"}
    queries |= in_user_pages(rf"(?:\S+ )*{field}.*")
    table = {row[0].strip("`") for row in tables(GENERATED.sub("", PAGES["docs/filter.md"]))}
    assert len(table) > 5
    assert len(queries) > len(table)
    assert all(parse(query, has_past=True) for query in queries | table)


# Names.


def test_every_name_with_an_underscore_in_the_text_is_a_setting_or_a_field() -> None:
    document = schema()["$defs"]
    settings = {*document["Profile"]["properties"], *HookSettings.model_fields, "default_profile"}
    assert "alert_after" in settings
    named = in_user_pages(r"[a-z]+(_[a-z]+)+")
    assert "alert_after" in named
    assert {name for name in named if not name.startswith("envwatch_")} - settings - WRITTEN - OF_OTHERS == set()


# Links.


def target_of(page: str, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return (ROOT / PurePosixPath(page).parent / path if path else ROOT / page), anchor


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    broken = []
    for name, text in PAGES.items():
        for link in links(text):
            path, anchor = target_of(name, link)
            if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
                broken.append(f"{name}: {link}")
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    new = {README}
    while new:
        seen |= new
        new = {
            target_of(path.relative_to(ROOT).as_posix(), link)[0].resolve()
            for path in new
            if path.suffix == ".md"
            for link in links(path.read_text(encoding="utf-8"))
        } - seen
    assert [name for name in PAGES if (ROOT / name).resolve() not in seen] == []


def test_no_sentence_stands_twice() -> None:
    counts = Counter(
        sentence
        for name, text in PAGES.items()
        if name != REPORT
        for sentence in sentences(GENERATED.sub("", text))
        if len(sentence.split()) >= 7
    )
    assert len(counts) > 300
    assert [sentence for sentence, count in counts.items() if count > 1] == []


def test_no_line_of_text_needs_a_wide_screen() -> None:
    """Tables have a line for each row, and the report is the program's output."""
    texts = [prose(text) for name, text in PAGES.items() if name.startswith(("README", "docs/")) and name != REPORT]
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > LONGEST_LINE] == []


def test_every_page_has_one_title_and_says_its_purpose_first() -> None:
    for name, text in PAGES.items():
        title, about = re.match(r"# (.+)\n\n(.+)", text).groups()  # type: ignore[union-attr]
        assert len(re.findall(r"^# ", prose(text), re.MULTILINE)) == 1, name
        assert title
        assert not about.startswith(("#", "|", "`")), name


def test_the_page_about_performance_has_every_budget() -> None:
    wanted = [
        [f"`{bench}`", what, str(budget)]
        for bench, entries in BUDGETS.items()
        for what, budget in entries.items()
        if str(budget)
    ]
    assert tables(section(PAGES["docs/performance.md"], "Budgets")) == wanted


def test_names_of_keys_in_the_text_are_those_of_the_page_about_keys() -> None:
    table = "\n".join(row[0] for row in tables(PAGES["docs/keys.md"]))
    keys = names(table) | set("23")
    letters = names(" ".join(row[1] for row in tables(PAGES["docs/keys.md"])))
    used = in_user_pages(r"[A-Za-z]|[\[\]{}:/]|ctrl\+.|F\d+")
    assert {"E", "{", "a"} <= used
    assert used - keys - letters == set()
