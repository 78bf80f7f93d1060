"""Measures how many wrong rules the tests of a package catch: `uv run python tests/bench mutants [PACKAGE ...]`.

A mutant is the package with one random change of one expression: a comparison, `and`, a condition, a number, `min`, a
sum, a call that is left out. The tests of the same package should fail for each mutant: a surviving mutant is a rule
that no test wants. Mutants run in a copy of the tree, so an interrupted run leaves the tree unchanged. The tests that
execute the changed line run first, and the others only if the mutant survives.

Results are lines of JSON in a folder outside the tree. A run that is started again goes on where the last run stopped,
as long as the package and its tests are unchanged. `--shard 2/4` takes a part; shards may share the folder and run at
the same time.

`--matrix` runs all tests of the core for each mutant and keeps the failed tests. A test of a core rule may go if other
tests of the core kill every mutant that this test kills: `--redundant` lists such tests.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

from coverage import CoverageData
from platformdirs import user_cache_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[2]


class Package(NamedTuple):
    """Code, and the tests that prove the code's rules; paths in the repository."""

    code: str
    tests: tuple[str, ...]


PACKAGES: Final[Mapping[str, Package]] = {
    "model": Package("envwatch/model", ("tests/model",)),
    "fleet": Package("envwatch/fleet", ("tests/fleet",)),
    "alerts": Package("envwatch/alerts", ("tests/alerts",)),
    "deliver": Package("envwatch/deliver", ("tests/deliver", "tests/config/test_hook_schema.py")),
    "query": Package("envwatch/query", ("tests/query",)),
    "history": Package("envwatch/history", ("tests/history",)),
    "views": Package("envwatch/views", ("tests/views",)),
    "poller": Package("envwatch/letta/poller.py", ("tests/letta/test_poller.py", "tests/letta/test_session.py")),
}

_SLOWER: Final = 5
"""A mutant whose tests take this many times as long as the tests of the right code never ends."""
_LEAST_S: Final = 60.0
_LONGEST_S: Final = 3_600.0
_PLUGIN: Final = "traced_tests"
"""See `traced_tests.py`."""

_COMPARISONS: Final[Mapping[type[ast.cmpop], tuple[str, str]]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_OTHER_NAMES: Final = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one file; `begin` and `end` are places in its bytes."""

    path: str
    line: int
    column: int
    begin: int
    end: int
    old: str
    new: str
    statement: range
    """Lines of the statement, without its body."""

    @property
    def text(self) -> str:
        old, new = (" ".join(each.split())[:60] for each in (self.old, self.new))
        return f"{self.path}:{self.line}:{self.column} {old!r} -> {new!r}"

    def applied(self, source: bytes) -> bytes:
        return source[: self.begin] + self.new.encode() + source[self.end :]


def mutants_of(path: Path, root: Path = ROOT) -> Iterator[Mutant]:
    """Yield every possible mutant of a file, in the order of the syntax tree."""
    source = _Source(path.read_bytes())
    for node, statement in _behaviour(ast.parse(source.data)):
        for begin, end, new in (*source.changed_operators(node), *source.changed_values(node)):
            line = source.data.count(b"\n", 0, begin) + 1
            column = begin - source.starts[line - 1]
            old = source.data[begin:end].decode()
            yield Mutant(str(path.relative_to(root)), line, column, begin, end, old, new, statement)


class _Source:
    """Places of a file's nodes, and texts in their stead: begin and end in bytes, and the new text."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.starts = [0]
        for line in data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = self.starts[node.lineno - 1] + node.col_offset
        return begin, self.starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> str:
        begin, end = self._span(node)
        return self.data[begin:end].decode()

    def _between(self, first: ast.expr, second: ast.expr, old: str, new: str) -> Iterator[tuple[int, int, str]]:
        begin, end = self._span(first)[1], self._span(second)[0]
        middle = self.data[begin:end].decode()
        if middle.split() == old.split():  # no parenthesis and no comment
            yield begin, end, middle.replace(old, new)

    def changed_operators(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield from self._between(left, right, *_COMPARISONS[type(operator)])
            case ast.BoolOp(op=ast.And(), values=[left, right]):
                yield from self._between(left, right, "and", "or")
            case ast.BoolOp(op=ast.Or(), values=[left, right]):
                yield from self._between(left, right, "or", "and")
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                yield from self._between(left, right, "+", "-")
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                yield from self._between(left, right, "-", "+")

    def changed_values(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield *self._span(node), f"bool({self._text(operand)})"
            case ast.If(test=test) | ast.IfExp(test=test):
                yield *self._span(test), f"(not ({self._text(test)}))"
            case ast.Call(func=ast.Name(id=name) as function) if name in _OTHER_NAMES:
                yield *self._span(function), _OTHER_NAMES[name]
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                yield *self._span(node), f"({self._text(node)} + 1)"
            case ast.AugAssign() | ast.Expr(value=ast.Call() | ast.Await()):
                yield *self._span(node), "pass"


def _behaviour(tree: ast.AST, statement: range = range(0)) -> Iterator[tuple[ast.AST, range]]:
    """Yield the nodes of a tree with the lines of their statements.

    Left out are annotations, decorators, messages, and what only a type checker reads.
    """
    match tree:
        case ast.Raise() | ast.JoinedStr():
            return
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
    if isinstance(tree, ast.stmt | ast.match_case):
        statement = _lines(tree)
    yield tree, statement
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _behaviour(child, statement)


def _lines(statement: ast.stmt | ast.match_case) -> range:
    first = statement.pattern.lineno if isinstance(statement, ast.match_case) else statement.lineno
    match getattr(statement, "body", None):
        case [ast.stmt(lineno=after), *_]:
            return range(first, max(after, first + 1))
    return range(first, (getattr(statement, "end_lineno", None) or first) + 1)


def chosen(code: str, seed: int, count: int) -> list[Mutant]:
    """Return random mutants of a file or folder, the same for the same code and seed."""
    place = ROOT / code
    paths = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    found = [mutant for path in paths for mutant in mutants_of(path)]
    return random.Random(seed).sample(found, min(count, len(found)))


class Result(NamedTuple):
    mutant: str
    kills: Sequence[str]
    """Failed tests; empty if the mutant survived."""
    seconds: float


class Tests:
    """Runs tests against a copy of the tree.

    Args:
        copy: folder of the copy.
        paths: files and folders of tests.
        is_whole: run on after the first failure.
    """

    def __init__(self, copy: Path, paths: Sequence[str], *, is_whole: bool) -> None:
        self._copy, self._paths, self._is_whole = copy, paths, is_whole
        begun = time.monotonic()
        traced = ["-m", "coverage", "run", "--include", "envwatch/*", "-m", "pytest"]
        if failed := self._failed_tests(traced, paths, _LONGEST_S):
            sys.exit(f"mutants: the tests fail without a mutant: {', '.join(failed)}")
        self.seconds = time.monotonic() - begun
        """Time of all tests with the trace of lines, about twice their usual time."""
        self._lines = CoverageData(str(copy / ".coverage"))
        self._lines.read()

    def run(self, mutant: Mutant) -> Result:
        path = self._copy / mutant.path
        source = path.read_bytes()
        covering = self._covering(mutant)
        begun = time.monotonic()
        path.write_bytes(mutant.applied(source))
        try:
            failed = self._failed(covering) if covering else []
            if not failed and not (covering and self._is_whole):
                failed = self._failed(self._paths)
        finally:
            path.write_bytes(source)
        return Result(mutant.text, failed, round(time.monotonic() - begun, 1))

    def _covering(self, mutant: Mutant) -> list[str]:
        """Return the tests that execute the statement; none if it is executed at an import."""
        contexts = self._lines.contexts_by_lineno(str(self._copy / mutant.path))
        tests = {test for line in mutant.statement for test in contexts.get(line, ())}
        return [] if "" in tests else sorted(tests)

    def _failed(self, tests: Sequence[str]) -> list[str]:
        return self._failed_tests(["-m", "pytest"], tests, max(_SLOWER * self.seconds, _LEAST_S))

    def _failed_tests(self, runner: Sequence[str], tests: Sequence[str], limit_s: float) -> list[str]:
        names = self._copy / "tests-to-run"
        names.write_text("\n".join(tests))
        command = [sys.executable, *runner, "-p", _PLUGIN, "-q", "-rfE", "-n0", "-p", "no:cacheprovider", "--no-header"]
        command += ["--hypothesis-seed", "0", *([] if self._is_whole else ["-x"]), f"@{names}"]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self._copy), str(Path(__file__).parent)])}
        with subprocess.Popen(
            command,
            cwd=self._copy,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return ["the tests do not end"]
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        lines = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        failed = [line.partition(" - ")[0].partition(" ")[2] for line in lines]
        return failed or ([] if process.returncode == 0 else [f"pytest ended with {process.returncode}"])


@contextmanager
def copied_tree() -> Iterator[Path]:
    """Copy the files that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    with TemporaryDirectory(prefix="mutants-") as folder:
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                target = Path(folder) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, target)
        yield Path(folder)


def _digest(*places: str) -> str:
    digest = hashlib.sha256()
    for place in places:
        path = ROOT / place
        for each in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(each.relative_to(ROOT)).encode() + each.read_bytes())
    return digest.hexdigest()[:12]


def _kept(path: Path) -> dict[str, Result]:
    lines = path.read_text().splitlines() if path.exists() else ()
    return {each.mutant: each for each in (Result(**json.loads(line)) for line in lines)}


def _tried(
    file: Path, mutants: Sequence[Mutant], shard: Sequence[Mutant], tests: Sequence[str], *, is_whole: bool
) -> list[Result]:
    """Try the mutants of a shard that have no result yet, and return the results of all mutants so far."""
    missing = [mutant for mutant in shard if mutant.text not in _kept(file)]
    if missing:
        with copied_tree() as copy:
            runner = Tests(copy, tests, is_whole=is_whole)
            sys.stderr.write(f"the tests take {runner.seconds:.0f} s; {len(missing)} mutants to try\n")
            for mutant in missing:
                result = runner.run(mutant)
                with file.open("a") as results:
                    results.write(f"{json.dumps(result._asdict())}\n")
                word = "killed  " if result.kills else "SURVIVED"
                sys.stderr.write(f"{word} {result.seconds:5.1f} s  {mutant.text}  {' '.join(result.kills[:1])}\n")
    kept = _kept(file)
    return [kept[mutant.text] for mutant in mutants if mutant.text in kept]


def redundant(results: Sequence[Result]) -> Iterator[tuple[str, int]]:
    """Yield tests, one after the other, without which all killed mutants stay killed, with the number of their kills.

    The weakest test goes first. A test that kills nothing is not among them: the matrix says nothing about such a test.
    """
    killers = [set(result.kills) for result in results if result.kills]
    kills = {test: sum(test in each for each in killers) for test in set().union(*killers)}
    for test in sorted(kills, key=lambda test: (kills[test], test)):
        if all(len(each) > 1 for each in killers if test in each):
            for each in killers:
                each.discard(test)
            yield test, kills[test]


def _part(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not 1 <= int(number) <= int(of):
        raise ValueError(text)
    return int(number), int(of)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("mutants", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(PACKAGES)}; all by default")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random choice (1)")
    parser.add_argument("--count", type=int, help="mutants of each package (40), or of the core with --matrix (120)")
    parser.add_argument("--shard", type=_part, default=(1, 1), metavar="N/M", help="try every Mth mutant, from the Nth")
    parser.add_argument("--results", type=Path, metavar="FOLDER", default=user_cache_path("envwatch") / "mutants")
    parser.add_argument("--matrix", action="store_true", help="keep which tests of the core fail for each mutant")
    parser.add_argument("--redundant", action="store_true", help="list tests that the matrix of all shards can spare")
    options = parser.parse_args(arguments)
    if unknown := set(options.packages) - PACKAGES.keys():
        parser.error(f"no such package: {', '.join(sorted(unknown))}; there are {', '.join(PACKAGES)}")
    packages = [PACKAGES[name] for name in options.packages or PACKAGES]
    options.results.mkdir(parents=True, exist_ok=True)
    number, of = options.shard
    if options.matrix:
        _matrix(options, packages)
        return
    survives = False
    for name, (code, tests) in zip(options.packages or PACKAGES, packages, strict=True):
        mutants = chosen(code, options.seed, options.count or 40)
        file = options.results / f"{name}-{_digest(code, *tests)}.jsonl"
        results = _tried(file, mutants, mutants[number - 1 :: of], tests, is_whole=False)
        killed = sum(bool(result.kills) for result in results)
        survives = survives or killed < len(results)
        sys.stdout.write(f"{name}: {killed} of {len(results)} killed, seed {options.seed}\n")
        sys.stdout.writelines(f"    survived: {result.mutant}\n" for result in results if not result.kills)
    sys.exit(survives)


def _matrix(options: argparse.Namespace, packages: Sequence[Package]) -> None:
    count = (options.count or 120) // len(packages)
    mutants = [mutant for package in packages for mutant in chosen(package.code, options.seed, count)]
    tests = [path for package in PACKAGES.values() for path in package.tests]
    file = options.results / f"matrix-{_digest('envwatch', *tests)}.jsonl"
    number, of = options.shard
    results = _tried(file, mutants, mutants[number - 1 :: of], tests, is_whole=True)
    sys.stdout.write(f"{len(results)} of {len(mutants)} mutants in {file}\n")
    if options.redundant:
        sys.stdout.writelines(f"{kills:4} {test}\n" for test, kills in redundant(results))


if __name__ == "__main__":
    main()
