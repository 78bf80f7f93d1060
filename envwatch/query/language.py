"""The filter language: which environments a person asks for, in one line.

    query    = { term }                         all must hold, in any order
    term     = [ "!" ] ( word | field ":" value { "," value } )
    value    = "none" | [ operator ] text | text ".." text
    operator = ">" | ">=" | "<" | "<=" | "="
    word, text, field = characters without a space, or "quoted", a quote within doubled

In a word or a text that no operator stands before, a bare `*` is for any characters and a bare `?` for one; such a
pattern must match the whole of what is looked into.

Terms on one field are alternatives, like the values behind one colon: `mode:strict mode:unrestricted` is the same as
`mode:strict,unrestricted`. A negated term must hold in any case, and holds exactly where the same term without `!` does
not: `!branch:main` finds what has no branch, too. A word looks in every visible field, and with three letters or more
into the state, which it finds by its beginning: `off`, `late`, `flap`. `fields` says what can stand
before a colon and what a value means there; `none` finds what has no value, `!field:none` what has one.

Pure: the moment, the visible columns and the number of listings are arguments. Knows nothing of boxes or keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from envwatch.fleet.acknowledgements import NO_ACKS
from envwatch.model.text import clean
from envwatch.query.field_types import MatchContext, state_test
from envwatch.query.fields import is_begun, named_field
from envwatch.query.lexer import QueryError, normalize, quoted, tokens, written
from envwatch.query.literals import pattern_of, text_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import tzinfo

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.model.text import Clean
    from envwatch.query.field_types import Test, Value
    from envwatch.query.lexer import Token


class Searchable(Protocol):
    """A value of an environment in which words can be looked for: a column of the table."""

    @property
    def text(self) -> Callable[[TrackedEnvironment, float], Clean | None]:
        """What it shows at a moment (server's clock, ms)."""
        ...

    @property
    def sought(self) -> Callable[[TrackedEnvironment, float], Clean | None] | None:
        """What words are looked for in, if not in what it shows."""
        ...

    @property
    def is_searched(self) -> bool:
        """Whether words are looked for in it at all."""
        ...


@dataclass(frozen=True, slots=True)
class Word:
    """A text that a visible field must show. Two are equal if they are written alike."""

    written: str
    """As it must be typed to mean the same again."""
    is_in: Callable[[str], bool] = field(compare=False, repr=False)
    """Whether folded text holds it, one column or part a line."""
    state: Test | None = field(compare=False, repr=False)
    """The test of the state that it names, which is as good as a text that holds it."""
    is_negated: bool = False

    def __str__(self) -> str:
        return "!" * self.is_negated + self.written


@dataclass(frozen=True, slots=True)
class Term:
    """What a field must be: one of its values."""

    field: str
    values: tuple[Value, ...]
    is_negated: bool = False

    def __str__(self) -> str:
        return f"{'!' * self.is_negated}{written(self.field)}:{','.join(value.written for value in self.values)}"


class SearchCache:
    """What rows show, made ready for words: whoever asks again and again keeps one, and typing costs less.

    Holds a text for each row that the last round of questions looked into, and takes it for the next round where the
    row is still the same.
    """

    __slots__ = ("_columns", "_texts")

    def __init__(self) -> None:
        self._columns: Sequence[Searchable] = ()
        self._texts: dict[Clean, tuple[Environment, str]] = {}

    def reader(self, columns: Sequence[Searchable]) -> Callable[[TrackedEnvironment], str]:
        """Begin a round: return what gives the text of a row in some columns."""
        before = self._texts if columns == self._columns else {}
        texts: dict[Clean, tuple[Environment, str]] = {}
        self._columns, self._texts = columns, texts

        def text(tracked: TrackedEnvironment) -> str:
            row = tracked.environment
            known = before.get(row.id)
            if known is None or known[0] is not row:
                known = (row, _haystack(tracked, columns))
            texts[row.id] = known
            return known[1]

        return text


@dataclass(frozen=True, slots=True)
class Query:
    """What a person asked for; false when that is nothing."""

    terms: tuple[Word | Term, ...] = ()
    _tests: tuple[Test, ...] = field(init=False, compare=False, repr=False)
    _words: tuple[Word, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tests", tuple(_tests(self.terms)))
        object.__setattr__(self, "_words", tuple(term for term in self.terms if isinstance(term, Word)))

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        """Return the same query in its plainest form."""
        return " ".join(map(str, self.terms))

    @property
    def has_demands(self) -> bool:
        """Whether a term must hold that is not negated: what has no field at all never fulfils it."""
        return any(isinstance(term, Term) and not term.is_negated for term in self.terms)

    def demands(self, field: str) -> bool:
        """Whether a field must have one of some values."""
        return any(isinstance(term, Term) and term.field == field and not term.is_negated for term in self.terms)

    def has_words(self, text: str) -> bool:
        """Whether the words alone hold for a text that has no state; a pattern must match a whole line of it."""
        said = normalize(text)
        return all(word.is_in(said) is not word.is_negated for word in self._words)

    def has_terms(self, tracked: TrackedEnvironment, now: float, listings: int, acks: Acks = NO_ACKS) -> bool:
        """Whether the terms alone hold for an environment; see `test`."""
        known = MatchContext(listings, acks)
        return all(test(tracked, now, known) for test in self._tests)

    def matches(self, tracked: TrackedEnvironment, now: float, columns: Sequence[Searchable], listings: int) -> bool:
        """Whether one environment is asked for; `test` is the way to ask for many."""
        return self.test(now, columns, listings)(tracked)

    def test(
        self,
        now: float,
        columns: Sequence[Searchable],
        listings: int,
        search_caches: SearchCache | None = None,
        acks: Acks = NO_ACKS,
    ) -> Callable[[TrackedEnvironment], bool]:
        """Return whether an environment is asked for.

        Args:
            now: the moment by the server's clock, in ms.
            columns: the visible ones, in which words are looked for.
            listings: how many listings were believed.
            search_caches: kept from call to call by who asks often.
            acks: problems that are acknowledged.
        """
        tests, known = self._tests, MatchContext(listings, acks)
        words = [(word.is_in, word.state, not word.is_negated) for word in self._words]
        searched = [column for column in columns if column.is_searched] if words else []
        haystack = (
            search_caches.reader(searched)
            if search_caches is not None and words
            else partial(_haystack, columns=searched)
        )

        def is_asked_for(tracked: TrackedEnvironment) -> bool:
            for test in tests:
                if not test(tracked, now, known):
                    return False
            if words:
                text = haystack(tracked)
                for is_in, state, wanted in words:
                    if (is_in(text) or (state is not None and state(tracked, now, known))) is not wanted:
                        return False
            return True

        return is_asked_for


def parse(text: str, zone: tzinfo | None = None) -> Query:
    """Return the query that a line stands for.

    Args:
        text: what was typed.
        zone: of dates without an offset; None for this machine's.

    Raises:
        QueryError: if it means nothing, with the place of the first mistake.
    """
    read, mistake = _read(text, zone)
    if mistake is not None:
        raise mistake
    return Query(tuple(term for _, term in read))


@dataclass(frozen=True, slots=True)
class PartialQuery:
    """What a line asks for while it is being typed."""

    query: Query
    """All of its terms that mean something."""
    settled: Query
    """Those without the word at the cursor, where that may yet become the name of a field."""
    mistake: QueryError | None
    """The first."""


def partial_query(text: str, cursor: int, zone: tzinfo | None = None) -> PartialQuery:
    """Return what a line asks for that somebody still types.

    Args:
        text: what was typed so far.
        cursor: before which character it stands.
        zone: of dates without an offset; None for this machine's.
    """
    read, mistake = _read(text, zone)
    settled = [
        term
        for token, term in read
        if token.end != cursor or isinstance(term, Term) or '"' in token.shape or not is_begun(token.text.lstrip("!"))
    ]
    return PartialQuery(Query(tuple(term for _, term in read)), Query(tuple(settled)), mistake)


def _read(text: str, zone: tzinfo | None) -> tuple[list[tuple[Token, Word | Term]], QueryError | None]:
    """Return the terms of a line, each with its token, without those that mean nothing, and the first of these."""
    read: list[tuple[Token, Word | Term]] = []
    limits: dict[tuple[str, str], dict[str, Any]] = {}
    mistake: QueryError | None = None
    for token in tokens(text):
        try:
            term = _term(token, zone)
            if isinstance(term, Term) and not term.is_negated:
                _require_a_limit(limits, term, token)
        except QueryError as error:
            mistake = mistake or error
        else:
            read.append((token, term))
    return read, mistake


def _term(token: Token, zone: tzinfo | None) -> Word | Term:
    if token.is_open:
        raise token.error('a quote is not closed: put another " behind the text')
    is_negated = token.shape.startswith("!")
    body = token.part(1) if is_negated else token
    if body.shape.startswith("!"):
        raise token.error("one ! is enough")
    colon = body.shape.find(":")
    if colon < 0:
        return _word(body, token, is_negated=is_negated)
    if colon == 0:
        raise token.error("a field is missing before the colon; a text with a colon needs quotes")
    asked = named_field(body.part(0, colon))
    values = []
    for typed in body.part(colon + 1).parts(","):
        if not typed.text:
            raise body.error(f"{asked.name} needs a value; {asked.name}:none finds what has none")
        if typed.shape.startswith("!"):
            raise typed.error(f"the ! stands before the field: !{asked.name}:{clean(typed.text[1:], 40)}")
        values.append(asked.value(typed, zone))
    return Term(asked.name, tuple(values), is_negated)


def _word(body: Token, token: Token, *, is_negated: bool) -> Word:
    pattern = pattern_of(body)
    if not pattern:
        raise token.error("a word is missing behind the !" if is_negated else "there is nothing in the quotes")
    typed = str(pattern)
    state = state_test(body.shape)  # what is quoted has no power
    return Word(quoted(typed) if state_test(typed) and not state else typed, text_test(pattern), state, is_negated)


def _require_a_limit(limits: dict[tuple[str, str], dict[str, Any]], term: Term, token: Token) -> None:
    """Refuse alternatives that together let everything through: who writes `beat:>30s beat:<90s` means a range.

    Args:
        limits: the least limit from below and the greatest from above so far, by field and kind.
        term: the next one.
        token: where it stands.
    """
    for value in term.values:
        if value.limit is None:
            continue
        kind, event_presence, at = value.limit
        known = limits.setdefault((term.field, kind), {})
        known[event_presence] = (min if event_presence == "from" else max)(known.get(event_presence, at), at)
        if len(known) == 2 and known["from"] <= known["to"]:
            raise token.error(f"these alternatives let everything through: write {term.field}:a..b")


def _tests(terms: Iterable[Word | Term]) -> Iterable[Test]:
    """Yield one test for each negated term, and one for the alternatives of each field."""
    wanted: dict[str, list[Test]] = {}
    for term in terms:
        if isinstance(term, Term):
            tests = [value.test for value in term.values]
            if term.is_negated:
                yield _without(tests)
            else:
                wanted.setdefault(term.field, []).extend(tests)
    yield from map(_either, wanted.values())


def _either(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda tracked, now, known: any(test(tracked, now, known) for test in tests)


def _without(tests: Sequence[Test]) -> Test:
    either = _either(tests)
    return lambda tracked, now, known: not either(tracked, now, known)


def _haystack(tracked: TrackedEnvironment, columns: Iterable[Searchable]) -> str:
    """Return what a row shows, without marks, one column a line: cleaned text holds no line ends."""
    return normalize("\n".join([(column.sought or column.text)(tracked, 0.0) or "" for column in columns]))
