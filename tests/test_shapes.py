"""One shape for each fact: two classes that share five fields are copies of each other."""

from __future__ import annotations

import ast
from itertools import chain, combinations
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import envwatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEAST: Final = 5


def fields_in(source: str) -> Mapping[str, set[str]]:
    """Return the annotated fields of each class by the class's name, without inherited fields."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            declared = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
            found[node.name] = {each.id for each in declared if isinstance(each, ast.Name)}
    return found


def pairs_in(sources: Iterable[str]) -> Mapping[frozenset[str], set[str]]:
    """Return the pairs of classes that share at least `LEAST` fields, with the names of the fields."""
    classes = list(chain.from_iterable(fields_in(source).items() for source in sources))
    return {
        frozenset({one, other}): shared
        for (one, fields), (other, others) in combinations(classes, 2)
        if len(shared := fields & others) >= LEAST
    }


def test_no_two_classes_declare_the_same_five_fields() -> None:
    modules = Path(envwatch.__file__).parent.rglob("*.py")
    assert pairs_in(path.read_text(encoding="utf-8") for path in modules) == {}


@pytest.mark.parametrize(
    ("first", "second", "is_pair"),
    [
        (range(5), range(5), True),
        (range(7), range(2, 9), True),
        (range(6), range(2, 8), False),
    ],
)
def test_five_shared_names_are_a_pair_in_any_modules(first: range, second: range, is_pair: bool) -> None:  # noqa: FBT001 - as above
    sources = [
        "\n".join([f"class {name}:", *(f"    field_{number}: int = 0" for number in numbers)])
        for name, numbers in (("One", first), ("Other", second))
    ]
    assert bool(pairs_in(sources)) is bool(pairs_in(["\n".join(sources)])) is is_pair


def test_a_subclass_with_more_fields_is_no_pair_with_its_base() -> None:
    base = "\n".join(["class Base:", *(f"    field_{number}: int" for number in range(5))])
    assert not pairs_in([base, "class Derived(Base):\n    more: int"])
