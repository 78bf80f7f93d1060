"""Only the cleaning functions make a `SafeText`: no other code calls the type or casts to the type."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]

MAKERS: Final = ("envwatch/model/text.py", "tests/support/uncleaned.py")

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
def test_a_type_that_is_only_named_is_no_cast(source: str) -> None:
    assert not [*casts_in(source)]


def test_only_functions_that_clean_make_a_safe_text() -> None:
    modules = [module for module in MODULES if not module.startswith(MAKERS)]
    assert len(modules) > 500
    sources = {module: (ROOT / module).read_text() for module in modules}
    found = {module: [*casts_in(source)] for module, source in sources.items() if "SafeText" in source}
    assert {module: casts for module, casts in found.items() if casts} == {}
