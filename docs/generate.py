"""Makes files that derive from the code: completion scripts, manual page, tables of fields and budgets.

`uv run python docs/generate.py` writes the files; `tests/cli/test_shipped_files.py` compares them.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shtab
from argparse_manpage.manpage import Manpage

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.budgets import BUDGETS

from envwatch import __version__
from envwatch.cli.arguments import COMMANDS, EXIT_CODES, VARIABLES, Parser, whole_parser
from envwatch.cli.commands.completion import FOLDER, SCRIPTS
from envwatch.config.declared import ADVANCED_SETTINGS, SETTINGS
from envwatch.config.describe import help_of, value_text
from envwatch.config.hooks import HookSettings
from envwatch.query.completion import completions
from envwatch.query.fields import META
from envwatch.query.presentation import PRESENTATIONS
from envwatch.views.table.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MANUAL = Path(__file__).parent / "envwatch.1"
FILTER = Path(__file__).parent / "filter.md"
HEADLESS = Path(__file__).parent / "without-a-screen.md"
CONFIGURATION = Path(__file__).parent / "configuration.md"
PERFORMANCE = Path(__file__).parent / "performance.md"

FIELDS = {offer.text: offer.description for offer in completions("", 0, [])}
"""Descriptions by field, each with its colon."""

BASH = f"""
_envwatch_profiles() {{
  local before=
  [[ $1 == *,* ]] && before=${{1%,*}},
  compgen -P "$before" -W "$(envwatch completion --profiles 2>/dev/null)" -- "${{1##*,}}"
}}

_envwatch_filter() {{
  compgen -W {shlex.quote(" ".join(FIELDS))} -- "$1"
}}
"""

BASH_END = """
# Bash takes the sign in --option=value for a word, which shtab's function does not expect.
# A field of a filter goes on with its value: no space after it.
_envwatch() {
  local i current=$COMP_CWORD words=()
  for i in "${!COMP_WORDS[@]}"; do
    if [[ ${COMP_WORDS[i]} != = || i -eq 0 ]]; then
      words+=("${COMP_WORDS[i]}")
    elif (( i == COMP_CWORD )); then
      words+=("")
    elif (( i < COMP_CWORD )); then
      (( current-- ))
    fi
  done
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$current
  _shtab_envwatch "$@"
  [[ ${COMPREPLY[0]} == *[:.] ]] && compopt -o nospace
  return 0
}

complete -o bashdefault -F _envwatch envwatch
"""


def zsh() -> str:
    """Return the zsh script's functions."""
    described = ["{}:{}".format(name.replace(":", r"\:"), about) for name, about in FIELDS.items()]
    fields = "\n".join(f"    {shlex.quote(field)}" for field in described)
    return f"""
_envwatch_profiles() {{
  local -a profiles=(${{(f)"$(envwatch completion --profiles 2>/dev/null)"}})
  (( $#profiles )) && _values -s , profile $profiles
}}

_envwatch_filter() {{
  local -a fields=(
{fields}
  )
  _describe field fields -S ''
}}
"""


def fish() -> str:
    """Return the fish script's functions."""
    fields = " \\\n    ".join(shlex.quote(f"{name}\t{about}") for name, about in FIELDS.items())
    return f"""
function _envwatch_profiles
  set -l before (string match -r '^.*,' -- (commandline -ct))
  for name in (envwatch completion --profiles 2>/dev/null)
    echo "$before$name"
  end
end

function _envwatch_filter
  printf '%s\\n' {fields}
end
"""


COMPLETED = {
    "profile": {"bash": "_envwatch_profiles", "zsh": "_envwatch_profiles", "fish": "(_envwatch_profiles)"},
    "filter": {"bash": "_envwatch_filter", "zsh": "_envwatch_filter", "fish": "(_envwatch_filter)"},
    "machines": {"bash": "_envwatch_filter", "zsh": "_envwatch_filter", "fish": "(_envwatch_filter)"},
    "config": shtab.FILE,
    "expect": shtab.FILE,
    "file": shtab.FILE,
    "log_file": shtab.FILE,
    "tls_cert": shtab.FILE,
    "tls_key": shtab.FILE,
}
"""Completions of values, by option."""


def parsers_in(parser: Parser) -> Iterator[Parser]:
    """Yield a parser and those of its commands."""
    yield parser
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from parsers_in(command)


def script_for(shell: str) -> str:
    """Return a shell's completion script."""
    parser = whole_parser()
    for name, command in parser.commands.items():
        command.description = COMMANDS[name]
    for command in parsers_in(parser):
        if command.optional_action is not None:  # the first word is an action, or machines: scripts know the actions
            command._actions = [each for each in command._actions if each.dest != "machines"]  # noqa: SLF001
    for action in (each for command in parsers_in(parser) for each in command._actions):  # noqa: SLF001
        if action.dest in COMPLETED:
            action.complete = COMPLETED[action.dest]  # type: ignore[attr-defined]  # as shtab wants it
    preamble = {"bash": BASH, "zsh": zsh(), "fish": fish()}[shell]
    script: str = shtab.complete(parser, shell, preamble={shell: preamble})
    match shell:
        case "bash":
            return script + BASH_END
        case "zsh":  # an option and its value may share a word: --option=value
            script = re.sub(r'^  "(--[a-z-]+)\[(?=.*\]:)', r'  "\1=[', script, flags=re.MULTILINE)
            return script.replace('"(*)::', '"*:')  # several values, not one
        case _:
            return script


def manual() -> str:
    """Return the manual page: argparse-manpage's text and the common sections."""
    data: dict[str, Any] = {"description": "watch Letta environments in the terminal", "prog": "envwatch"}
    first, *commands = parsers_in(whole_parser())
    for command in commands:
        command.description = f"{command.description}\n\n{command.examples_text}"
        # The options of the connection stand once, with those of `envwatch` itself.
        command._action_groups = [group for group in command._action_groups if group is not command.connection]  # noqa: SLF001
    page = in_columns(72, lambda: str(Manpage(first, data)))
    page = re.sub(r"^\.TH .*", f'.TH ENVWATCH 1 "" "envwatch {__version__}" "User Commands"', page)
    sections = []
    for block in (VARIABLES, EXIT_CODES):
        title, *lines = block.splitlines()
        body = "\n".join(line.removeprefix("  ").replace("\\", r"\e").replace("-", r"\-") for line in lines)
        sections.append(f".SH {title.rstrip(':').upper()}\n.nf\n{body}\n.fi\n")
    return "\n".join([page.rstrip(), *sections])


def in_columns(columns: int, make: Callable[[], str]) -> str:
    """Return argparse's text at a width."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(columns)
    try:
        return make()
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def with_part(text: str, title: str, part: str) -> str:
    """Return a page with a new part between a title's marker and the end marker."""
    begin, end = f"<!-- {title}: made by docs/generate.py -->\n", "<!-- end -->"
    before, rest = text.split(begin)
    _, after = rest.split(end, 1)
    return f"{before}{begin}{part}{end}{after}"


def with_table(text: str, title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a page with a new table below a title's marker."""
    lines = "".join(f"| `{name}` | {about} |\n" for name, about in rows)
    return with_part(text, title, f"| {title[:-1]} | meaning |\n|---|---|\n{lines}")


def budgets() -> str:
    """Return the table of budgets, without figures that have none."""
    rows = [(bench, what, budget) for bench, entries in BUDGETS.items() for what, budget in entries.items()]
    lines = "".join(f"| `{bench}` | {what} | {budget} |\n" for bench, what, budget in rows if str(budget))
    return f"| bench | what | budget |\n|---|---|---|\n{lines}"


def pages() -> dict[Path, str]:
    """Return each page that has a generated table."""
    examples = {f"{each.id}:": f"{each.about}: `{each.example}`" for each in PRESENTATIONS.values() if each.example}
    fields = [(name.rstrip(":"), examples.get(name, about)) for name, about in FIELDS.items() if name != META]
    columns = [(column.id, column.about) for column in COLUMNS.values()]
    defaults = {name: value_text(declared.default) for name, declared in SETTINGS.items()}
    settings = {name: help_of(name) + f" Default: `{text}`." * (text != "-") for name, text in defaults.items()}
    advanced = [(name, settings.pop(name)) for name in ADVANCED_SETTINGS]
    configuration = with_table(CONFIGURATION.read_text(encoding="utf-8"), "settings", settings.items())
    configuration = with_table(configuration, "limits", advanced)
    hooks = [(name, field.description or "") for name, field in HookSettings.model_fields.items()]
    return {
        HEADLESS: with_table(HEADLESS.read_text(encoding="utf-8"), "settings", hooks),
        FILTER: with_table(
            FILTER.read_text(encoding="utf-8"), "fields", [*fields, (f"{META}KEY", "any key of the metadata")]
        ),
        CONFIGURATION: with_table(configuration, "columns", columns),
        PERFORMANCE: with_part(PERFORMANCE.read_text(encoding="utf-8"), "budgets", budgets()),
    }


def files() -> dict[Path, str]:
    """Return each generated file."""
    return {FOLDER / SCRIPTS[shell]: script_for(shell) for shell in SCRIPTS} | {MANUAL: manual()} | pages()


if __name__ == "__main__":
    for path, content in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
