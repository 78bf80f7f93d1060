"""The filter language: a line that selects environments.

    query    = { term }                         all must hold, in any order
    term     = [ "!" ] ( word | field ":" value { "," value } )
    value    = "none" | [ operator ] text | text ".." text
    operator = ">" | ">=" | "<" | "<=" | "="
    word, text, field = characters without a space, or "quoted", where a quote is doubled

A value is compared with the whole text, without case. Without an operator, an unquoted `*` matches any characters and
`?` a single one. A word occurs anywhere in a text; as an argument of a command (`parse_argument`), it is a whole name.

Terms on the same field are alternatives. Every negated term must hold: `!branch:main` also matches an environment
without a branch. A word is searched in every visible column. Three or more letters also match an abbreviated state
(`off`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.model.text import SafeText, clean
from envwatch.query.lexer import QueryError, Token, normalize, parse_pattern, quote_if_needed, quoted, text_test, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import tzinfo

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.query.fields import Test, Value
    from envwatch.query.presentation import MatchContext


Searched: TypeAlias = "Callable[[TrackedEnvironment], SafeText | None]"
"""Returns a column's text without marks."""


@dataclass(frozen=True, slots=True)
class TextTerm:
    """A word, searched in the visible columns."""

    source: str
    sought: str = field(compare=False, repr=False)
    """Normalised; empty if the word has wildcards."""
    matches: Callable[[str], bool] = field(compare=False, repr=False)
    state: Test | None = field(compare=False, repr=False)
    """Tests the abbreviated state; a match suffices."""
    is_negated: bool = False

    def __str__(self) -> str:
        return "!" * self.is_negated + self.source


class Term(NamedTuple):
    """A field and alternative values."""

    field: str
    values: tuple[Value, ...]
    is_negated: bool = False

    def __str__(self) -> str:
        return f"{'!' * self.is_negated}{quote_if_needed(self.field)}:{','.join(value.source for value in self.values)}"


class SearchCache:
    """The searchable texts of rows, kept between queries to speed up typing."""

    __slots__ = ("_columns", "_texts")

    def __init__(self) -> None:
        self._columns: Sequence[Searched] = ()
        self._texts: dict[SafeText, tuple[Environment, str]] = {}

    def reader(self, columns: Sequence[Searched]) -> Callable[[TrackedEnvironment], str]:
        """Return the reader of a row's text, for one round over all rows."""
        before = self._texts if columns == self._columns else {}
        texts: dict[SafeText, tuple[Environment, str]] = {}
        self._columns, self._texts = columns, texts

        def text(tracked: TrackedEnvironment) -> str:
            row = tracked.environment
            entry = before.get(row.id)
            if entry is None or entry[0] is not row:
                entry = (row, _searchable_text(tracked, columns))
            texts[row.id] = entry
            return entry[1]

        return text


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; false if empty."""

    terms: tuple[TextTerm | Term, ...] = ()
    _tests: tuple[Test, ...] = field(init=False, compare=False, repr=False)
    _words: tuple[TextTerm, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tests", tuple(_tests(self.terms)))
        object.__setattr__(self, "_words", tuple(term for term in self.terms if isinstance(term, TextTerm)))

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def demands(self, field: str | None = None) -> bool:
        """Whether a term of the field, or by default of any field, has no `!`."""
        terms = (term for term in self.terms if isinstance(term, Term) and not term.is_negated)
        return any(field in (None, term.field) for term in terms)

    @property
    def needs_past(self) -> bool:
        """Whether a term needs recorded time."""
        from envwatch.query.fields import OF_PAST

        return any(isinstance(term, Term) and term.field in OF_PAST for term in self.terms)

    def hits(self, text: SafeText) -> list[tuple[int, int]]:
        """Return the spans of the query's words in a text, without overlaps; none if normalising changes the length."""
        normal = normalize(text)
        sought = [word.sought for word in self._words if word.sought and not word.is_negated]
        if not sought or len(normal) != len(text):
            return []
        expression = "|".join(map(re.escape, sorted(sought, key=len, reverse=True)))
        return [match.span() for match in re.finditer(expression, normal)]

    def has_words(self, text: str) -> bool:
        """Whether the words match a normalised text."""
        return all(word.matches(text) is not word.is_negated for word in self._words)

    def has_terms(self, tracked: TrackedEnvironment, context: MatchContext) -> bool:
        """Whether the terms with fields match an environment."""
        return all(test(tracked, context) for test in self._tests)

    def test(
        self, context: MatchContext, columns: Sequence[Searched], cache: SearchCache | None = None
    ) -> Callable[[TrackedEnvironment], bool]:
        """Return the test of an environment; a kept `cache` speeds up words."""
        tests = self._tests
        words = [(word.matches, word.state, not word.is_negated) for word in self._words]
        text_of = cache.reader(columns) if cache is not None and words else partial(_searchable_text, columns=columns)

        def matches(tracked: TrackedEnvironment) -> bool:
            for test in tests:
                if not test(tracked, context):
                    return False
            if words:
                text = text_of(tracked)
                for matches_text, state, expected in words:
                    if (matches_text(text) or (state is not None and state(tracked, context))) is not expected:
                        return False
            return True

        return matches


def parse(text: str, zone: tzinfo | None = None, *, has_past: bool = False) -> Query:
    """Parse a query; `zone` is for dates without an offset.

    Only the dashboard's table knows the values of recorded time (`has_past`).

    Raises:
        QueryError: for the first mistake.
    """
    terms, mistake = _parsed(text, zone, has_past=has_past)
    if mistake is not None:
        raise mistake
    return Query(tuple(term for _, term in terms))


def parse_argument(text: str) -> Query:
    """Parse a command's positional query, whose words are whole names, or ids.

    A text without a colon is one name, also with spaces.

    Raises:
        QueryError: for the first mistake.
    """
    is_one_name = not any(mark in text for mark in ':"')
    found, mistake = _parsed(_SPACES.sub(lambda spaces: quoted(spaces[0]), text) if is_one_name else text, None)
    for token, term in found:
        if isinstance(term, TextTerm) and "?" in token.shape:
            rule = f"only a field takes ? for one character: {'!' * term.is_negated}name:{term.source}; or quote it"
            mistake = mistake or token.error(rule)
    if mistake is not None:
        raise mistake
    return Query(tuple(_named(term) if isinstance(term, TextTerm) else term for _, term in found))


def name_query(name: str) -> Query:
    """Return the query for a name or id, in which no character is special."""
    (term,) = parse(quoted(name)).terms
    return Query((_named(term),)) if isinstance(term, TextTerm) else Query()


def _named(word: TextTerm) -> Term:
    from envwatch.query.fields import FIELDS, Value

    (token,) = tokens(word.source)
    value = FIELDS["name"].parse(token, None)
    if sought := word.sought:  # without a wildcard
        is_name = value.test

        def test(row: TrackedEnvironment, context: MatchContext) -> bool:
            return is_name(row, context) or normalize(row.environment.id) == sought

        value = Value(value.source, test, whole_name="" if word.is_negated else sought)
    return Term("name", (value,), word.is_negated)


class PartialQuery(NamedTuple):
    """A query that is still being typed."""

    query: Query
    settled: Query
    """The query without a word at the cursor that may become a field's name."""
    mistake: QueryError | None


def partial_query(text: str, cursor: int, *, has_past: bool = False) -> PartialQuery:
    """Parse an unfinished query; see `completions` for `cursor`."""
    from envwatch.query.fields import may_become_field

    terms, mistake = _parsed(text, None, has_past=has_past)

    def is_settled(token: Token, term: TextTerm | Term) -> bool:
        is_plain_word = isinstance(term, TextTerm) and '"' not in token.shape
        return token.end != cursor or not is_plain_word or not may_become_field(token.text.lstrip("!"))

    settled = tuple(term for token, term in terms if is_settled(token, term))
    return PartialQuery(Query(tuple(term for _, term in terms)), Query(settled), mistake)


def _parsed(
    text: str, zone: tzinfo | None, *, has_past: bool = False
) -> tuple[list[tuple[Token, TextTerm | Term]], QueryError | None]:
    terms: list[tuple[Token, TextTerm | Term]] = []
    limits: dict[tuple[str, str], dict[str, Any]] = {}
    mistake: QueryError | None = None
    for token in tokens(text):
        try:
            term = _term(token, zone)
            if isinstance(term, Term):
                if not has_past:
                    _refuse_past(term, token)
                if not term.is_negated:
                    _check_limits(limits, term, token)
        except QueryError as error:
            mistake = mistake or error
        else:
            terms.append((token, term))
    return terms, mistake


def _term(token: Token, zone: tzinfo | None) -> TextTerm | Term:
    if token.is_open:
        raise token.error('a quote is not closed: put another " after the text')
    _refuse_brackets(token)
    is_negated = token.shape.startswith("!")
    body = token.part(1) if is_negated else token
    if body.shape.startswith("!"):
        raise token.error("one ! is enough")
    colon = body.shape.find(":")
    if colon < 0:
        return _word(body, token, is_negated=is_negated)
    if colon == 0:
        raise token.error("a field is missing before the colon; a text with a colon needs quotes")
    from envwatch.query.fields import named_field

    field = named_field(body.part(0, colon))
    values = []
    for part in body.part(colon + 1).parts(","):
        if not part.text:
            raise body.error(f"{field.name} needs a value; {field.name}:none finds machines without a value")
        if part.shape.startswith("!"):
            raise part.error(f"the ! stands before the field: !{field.name}:{clean(part.text[1:], 40)}")
        values.append(field.parse(part, zone))
    return Term(field.name, tuple(values), is_negated)


_SPACES: Final = re.compile(r"\s+")
_WITHOUT_COLON: Final = re.compile(r"([a-z]+)(!=|==|=|[<>]=?)(.*)", re.IGNORECASE | re.DOTALL)
_CONNECTIVES: Final = {
    **dict.fromkeys(("AND", "&&"), "leave {} out: all terms must match anyway"),
    **dict.fromkeys(("OR", "Or", "or", "||"), "there is no {}: separate values by a comma, mode:a,b"),
    "NOT": "a ! before the term stands for {}: !os:darwin",
}


def _word(body: Token, token: Token, *, is_negated: bool) -> TextTerm:
    from envwatch.query.fields import state_test

    _refuse_other_languages(body)
    pattern = parse_pattern(body)
    if not pattern:
        raise token.error("a word is missing after the !" if is_negated else "there is nothing in the quotes")
    source = str(pattern)
    state = state_test(body.shape)  # a quoted word is not an abbreviation
    if source in _CONNECTIVES or (state is None and state_test(source) is not None):
        source = quoted(source)
    return TextTerm(source, normalize(pattern.plain or ""), text_test(pattern), state, is_negated)


def _refuse_brackets(token: Token) -> None:
    if "[" in token.shape:
        raise token.error("there are no [ ]: separate values by a comma, name:a,b; or quote it")
    if "(" in token.shape or ")" in token.shape:
        raise token.error("there are no brackets: separate values by a comma, mode:a,b; or quote it")


def _refuse_other_languages(word: Token) -> None:
    """Refuse a term of other languages, which as a text would match nothing."""
    from envwatch.query.fields import known_field

    if (hint := _CONNECTIVES.get(word.shape)) is not None:
        raise word.error(f"{hint.format(word.text)}; or quote it")
    match = _WITHOUT_COLON.fullmatch(word.shape)
    if match is not None and (field := known_field(match[1])) is not None:
        negation = "!" if match[2] == "!=" else ""
        operator = match[2] if match[2][0] in "<>" else ""
        value = clean(word.text[match.start(3) :], 20) or "…"
        raise word.error(f"a field has a colon: {negation}{field}:{operator}{value}; or quote it")


def _refuse_past(term: Term, token: Token) -> None:
    from envwatch.query.fields import OF_PAST

    if term.field in OF_PAST:
        raise token.error(f"only the dashboard's table knows {term.field}")


def _check_limits(limits: dict[tuple[str, str], dict[str, Any]], term: Term, token: Token) -> None:
    """Refuse alternatives that match everything: `beat:>30s beat:<90s` is meant as a range."""
    for value in term.values:
        if value.limit is None:
            continue
        kind, side, position = value.limit
        sides = limits.setdefault((term.field, kind), {})
        sides[side] = (min if side == "from" else max)(sides.get(side, position), position)
        if len(sides) == 2 and sides["from"] <= sides["to"]:
            raise token.error(f"these alternatives match every machine: write {term.field}:a..b")


def _tests(terms: Iterable[TextTerm | Term]) -> Iterable[Test]:
    by_field: dict[str, list[Test]] = {}
    for term in terms:
        if isinstance(term, Term):
            tests = [value.test for value in term.values]
            if term.is_negated:
                yield _none_of(tests)
            else:
                by_field.setdefault(term.field, []).extend(tests)
    yield from map(_any_of, by_field.values())


def _any_of(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda tracked, context: any(test(tracked, context) for test in tests)


def _none_of(tests: Sequence[Test]) -> Test:
    any_of = _any_of(tests)
    return lambda tracked, context: not any_of(tracked, context)


def _searchable_text(tracked: TrackedEnvironment, columns: Iterable[Searched]) -> str:
    """Return a line for each column: cleaned text has no line ends."""
    return normalize("\n".join([text_of(tracked) or "" for text_of in columns]))
