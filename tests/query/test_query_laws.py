"""Properties of the filter language: any text parses or raises one located error, and queries find the right rows."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st
from support.builders import NOW, wire_row
from support.tracked_environments import ALL, BARE, matches, tracked

from envwatch.model.page import parse_environment
from envwatch.model.versions import version_key
from envwatch.query.language import Query, SearchCache, parse
from envwatch.query.lexer import QueryError, quote_if_needed, quoted, tokens
from envwatch.query.presentation import MatchContext
from envwatch.views.table.columns import COLUMNS, searched_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.fleet.tracking import TrackedEnvironment

TEXTS = st.text(st.sampled_from('abN :!",.*?<>=-019smhdTZ \t\n\\\x1b\ufe0f\u0301ßİ'), max_size=24)
PIECES = st.lists(
    st.sampled_from(
        [
            *("web", "OR", "beat>1h", "!", ":", ",", '"', '""', "..", ">", ">=", "=", "status:", "late"),
            *('"off"', "offl", "mode:", "fullAccess", "beat:", "90s", "1h", "2026-11-01", "T03:00"),
            *("version:", "0.34", "-rc1", "branch:", "feat/*", "?", '"*?"', "none", "meta.", "meta.a.b:"),
            *("node:", "v22", "dir:", "up:", "first:", "\u0301"),
        ]
    )
    | st.just(" "),
    max_size=12,
).map("".join)
LINES = st.one_of(TEXTS, PIECES, st.text(max_size=24))


def parsed(text: str) -> Query | None:
    try:
        return parse(text, UTC)
    except QueryError:
        return None


@given(LINES)
@example('a"""')
@example("branch:\u0301")
@example("beat:" + "9" * 30 + "s")
@example("version:>" + "9" * 5000)
@example("first:0001-01-01")
def test_any_text_is_a_query_or_raises_one_error_within_the_text(text: str) -> None:
    try:
        query = parse(text, UTC)
    except QueryError as mistake:
        error = mistake
    else:
        assert matches(query, tracked()) in (True, False)
        return
    assert 0 <= error.start <= error.end <= len(text)
    assert error.message
    assert error.message.isprintable()


@given(LINES)
@example('version:"a..b"')
@example('branch:"none" !branch:"=x" ">y"')
@example('"*?" ?"*" name:"*"*"?" branch:=m* none* a"..b"?')
def test_the_canonical_spelling_parses_to_the_same_query(text: str) -> None:
    query = parsed(text)

    if query is not None:
        again = parse(str(query), UTC)
        assert again == query
        assert str(again) == str(query)
        assert hash(again) == hash(query)
        assert all(matches(again, one) is matches(query, one) for one in (tracked(), BARE, tracked(podId="none")))


@given(st.text())
def test_a_quoted_text_is_one_token(text: str) -> None:
    (token,) = tokens(quote_if_needed(text))

    assert token.text == text
    assert not token.is_open


WILD = st.text(st.sampled_from('ab*?"'), min_size=1, max_size=4)


@given(WILD, WILD)
def test_every_character_in_quotes_is_literal(text: str, name: str) -> None:
    typed, one = quoted(text), tracked(connectionName=name, metadata={"gitBranch": name, "x": name})

    for line in (f"name:{typed}", f"branch:{typed}", f"meta.x:{typed}"):
        assert matches(parse(line), one) is (text == name)
    assert matches(parse(typed), one, columns=(COLUMNS["name"],)) is (text in name)


@given(WILD, WILD)
def test_unquoted_wildcards_match_the_whole_text_and_quoted_ones_themselves(text: str, name: str) -> None:
    wild = f"{quoted(text)}*" + quoted(text) + "?"
    expression = re.compile(f"{re.escape(text)}.*{re.escape(text)}.")

    assert matches(parse(wild), tracked(connectionName=name), columns=(COLUMNS["name"],)) is (
        expression.fullmatch(name) is not None
    )


# An independent implementation: terms made of parts, with tests that share no code with the language.

NAMES = ("web-1", "web 2", "API", "Straße", "none")
VERSIONS = ("0.33.9", "0.34.0", "0.34.12-rc1", "0.34.12", "nightly", None)
BRANCHES = ("main", "feat/login", "feat/x", "none", None)
AGES = (0, 1, 59, 60, 61, 119, 120, 3599, 3600, None)
SYSTEMS = ("linux", "darwin", "win32", None)

Sample = tuple[str, str, "Callable[[TrackedEnvironment], bool]"]
"""A field (empty for a word), the typed text, and the expected test."""


def texts() -> st.SearchStrategy[Sample]:
    def equal(value: str) -> Sample:
        return "branch", value, lambda one: one.environment.branch == value

    def whole(value: str) -> Sample:
        expression = re.compile(value.replace("*", ".*").replace("?", "."))
        return (
            "branch",
            value,
            lambda one: one.environment.branch is not None and expression.fullmatch(one.environment.branch) is not None,
        )

    absent: Sample = ("branch", "none", lambda one: one.environment.branch is None)
    return st.one_of(
        st.sampled_from(["main", "feat/x", "feat", "/", "zzz", "a"]).map(equal),
        st.sampled_from(["*", "feat/*", "*n", "ma?n", "?", "f*t/*o*"]).map(whole),
        st.just(absent),
    )


def durations() -> st.SearchStrategy[Sample]:
    compare: dict[str, Callable[[float, float], bool]] = {
        ">": lambda age, limit: age > limit,
        ">=": lambda age, limit: age >= limit,
        "<": lambda age, limit: age < limit,
        "<=": lambda age, limit: age <= limit,
    }

    def sample_of(operator: str, minutes: int, seconds: int) -> Sample:
        limit = timedelta(minutes=minutes, seconds=seconds).total_seconds()

        def holds(one: TrackedEnvironment) -> bool:
            beat = one.environment.last_heartbeat_at
            return beat is not None and compare[operator]((NOW - beat) / 1000, limit)

        return "beat", f"{operator}{minutes}m{seconds}s", holds

    return st.builds(
        sample_of, st.sampled_from([*compare]), st.sampled_from([0, 1, 2, 60]), st.sampled_from([0, 1, 59])
    )


def systems() -> st.SearchStrategy[Sample]:
    def sample_of(value: str) -> Sample:
        return "os", value, lambda one: one.environment.os == value

    return st.sampled_from(["win", "win32", "l", "darwin", "n"]).map(sample_of)


def versions() -> st.SearchStrategy[Sample]:
    def sample_of(value: str) -> Sample:
        def holds(one: TrackedEnvironment) -> bool:
            version = one.environment.version
            return version is not None and version != "nightly" and version_key(version) < version_key(value)

        return "version", f"<{value}", holds

    return st.sampled_from(["0.34.0", "0.34.12", "0.34.12-rc1", "1.0.0"]).map(sample_of)


def words() -> st.SearchStrategy[Sample]:
    def sample_of(value: str) -> Sample:
        def holds(one: TrackedEnvironment) -> bool:
            row = one.environment
            shown = (row.name, row.branch, row.version)
            return any(value.casefold() in text.casefold() for text in shown if text is not None)

        return "", quote_if_needed(value), holds

    return st.sampled_from(["web", "WEB", "0.34", "feat", "strasse", "api", "b 2"]).map(sample_of)


TERMS = st.tuples(st.one_of(texts(), durations(), systems(), versions(), words()), st.booleans())
SHOWN = (COLUMNS["state"], COLUMNS["name"], COLUMNS["branch"], COLUMNS["version"])


@st.composite
def environments(draw: st.DrawFn) -> TrackedEnvironment:
    age = draw(st.sampled_from(AGES))
    return tracked(
        connectionName=draw(st.sampled_from(NAMES)),
        lastHeartbeat=None if age is None else NOW - age * 1000,
        metadata={
            "gitBranch": draw(st.sampled_from(BRANCHES)),
            "lettaCodeVersion": draw(st.sampled_from(VERSIONS)),
            "os": draw(st.sampled_from(SYSTEMS)),
        },
    )


def line(terms: list[tuple[Sample, bool]]) -> str:
    return " ".join(f"{'!' * is_negated}{field}{':' * bool(field)}{typed}" for (field, typed, _), is_negated in terms)


def expected(terms: list[tuple[Sample, bool]], one: TrackedEnvironment) -> bool:
    fields = {field for (field, _, _), is_negated in terms if field and not is_negated}
    return (
        all(any(holds(one) for (name, _, holds), no in terms if name == field and not no) for field in fields)
        and all(holds(one) for (field, _, holds), is_negated in terms if not field and not is_negated)
        and not any(holds(one) for (_, _, holds), is_negated in terms if is_negated)
    )


@given(st.lists(TERMS, max_size=5), environments(), st.randoms(use_true_random=False))
def test_a_query_finds_what_the_independent_tests_find_in_any_order(
    terms: list[tuple[Sample, bool]], one: TrackedEnvironment, random: Any
) -> None:
    query = parsed(line(terms))
    shuffled = random.sample(terms, len(terms))

    if query is None:  # the limits together match everything, in any order
        assert parsed(line(shuffled)) is None
        return
    assert matches(query, one, columns=SHOWN) is expected(terms, one)
    assert matches(parse(line(shuffled)), one, columns=SHOWN) is expected(terms, one)


BOUNDS = st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from(["0.33", "0.34", "0.34.5", "0.34.12-rc1"]))
BETWEEN = ("0.1", "0.33-rc1", "0.33.0", "0.33.9", "0.34-rc1", "0.34.0", "0.34.5-rc1", "0.34.5", "0.34.5.1", "0.34.9")
ABOUT = (*BETWEEN, "0.34.12-rc0", "0.34.12-rc1", "0.34.12-rc2", "0.34.12", "0.35.0")


@given(st.lists(BOUNDS, min_size=1, max_size=3))
@example([("<", "0.34"), (">", "0.34")])
def test_limits_are_refused_exactly_if_they_leave_out_no_version(bounds: list[tuple[str, str]]) -> None:
    found = {
        version
        for operator, value in bounds
        for version in ABOUT
        if matches(parse(f"version:{operator}{value}"), tracked(metadata={"lettaCodeVersion": version}))
    }

    query = parsed("version:" + ",".join(operator + value for operator, value in bounds))
    assert (query is None) is (found == set(ABOUT))


DAYS = st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.integers(1, 3))


@given(st.lists(DAYS, min_size=1, max_size=3))
def test_limits_are_refused_exactly_if_they_leave_out_no_day(bounds: list[tuple[str, int]]) -> None:
    terms = [f"first:{operator}2026-11-{day:02}" for operator, day in bounds]
    days = [tracked(firstSeenAt=datetime(2026, 11, day, 12, tzinfo=UTC).timestamp() * 1000) for day in range(1, 4)]
    outer = [tracked(firstSeenAt=datetime(2026, month, 15, tzinfo=UTC).timestamp() * 1000) for month in (10, 12)]
    queries = [parse(term, UTC) for term in terms]

    lets_all = all(any(matches(query, one) for query in queries) for one in (*outer, *days))
    assert (parsed(" ".join(terms)) is None) is lets_all


@given(st.lists(environments(), max_size=4), st.lists(environments(), max_size=4), st.lists(TERMS, max_size=3))
def test_a_search_cache_changes_no_result(
    before: list[TrackedEnvironment], after: list[TrackedEnvironment], terms: list[Any]
) -> None:
    query = parsed(line(terms))
    if query is None:
        return
    cache = SearchCache()
    for ones, columns in ((before, SHOWN), (after, SHOWN), (after, SHOWN[:2]), (after, ALL)):
        test = query.test(MatchContext(NOW), searched_in(columns), cache)
        assert [test(one) for one in ones] == [matches(query, one, columns=columns) for one in ones]


def test_a_cached_text_is_read_once_while_the_row_stays_the_same() -> None:
    reads: list[TrackedEnvironment] = []

    def text(one: TrackedEnvironment) -> Any:
        reads.append(one)
        return one.environment.name

    one, cache = tracked(connectionName="web-1"), SearchCache()

    for typed in ("w", "we", "web"):
        assert parse(typed).test(MatchContext(NOW), (text,), cache)(one)
    assert len(reads) == 1
    renamed = replace(one, environment=parse_environment(wire_row(connectionName="api-1")))
    assert not parse("web").test(MatchContext(NOW), (text,), cache)(renamed)
    assert len(reads) == 2
