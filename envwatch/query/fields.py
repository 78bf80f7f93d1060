"""The fields of the filter language.

Typed and compared texts are cleaned, so a pasted control character matches the escape on the screen.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_old
from envwatch.model.text import SafeText, clean, composed, did_you_mean
from envwatch.model.versions import VersionKey, is_release, is_version, version_key
from envwatch.query import lexer
from envwatch.query.lexer import Pattern, normalize, quote_if_needed
from envwatch.query.presentation import PRESENTATIONS, TIMELESS, Filter, MatchContext, Presentation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from pydantic import JsonValue

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.lexer import Limit, OrderedLiteral, Token


NONE = "none"
"""Matches an environment without a value, unless in quotes."""

OPERATORS = (">=", "<=", ">", "<", "=")
"""Longer operators come first, because the first match counts."""


Test: TypeAlias = "Callable[[TrackedEnvironment, MatchContext], bool]"


@dataclass(frozen=True, slots=True)
class Value:
    """An alternative of a term. Values compare by canonical spelling."""

    source: str
    """A spelling that parses to the same value."""
    test: Test = field(compare=False, repr=False)
    limit: Limit | None = field(default=None, compare=False, repr=False)
    """Set if an operator leaves a side open."""
    whole_name: str = field(default="", compare=False, repr=False)
    """A command's name or id, normalised, which must be of one machine."""


def operator_of(token: Token) -> str:
    """Return a value's unquoted operator, or an empty text."""
    return next((operator for operator in OPERATORS if token.shape.startswith(operator)), "")


@dataclass(frozen=True)
class Field(ABC):
    """A field. The base class handles `none`, operators and ranges."""

    name: str
    about: str

    def parse(self, token: Token, zone: tzinfo | None) -> Value:
        """Read a value; `zone` is for dates without an offset.

        Raises:
            QueryError: if the field cannot have the value.
        """
        if token.shape.casefold() == NONE and (is_missing := self._missing()) is not None:
            return Value(NONE, is_missing)
        operator = operator_of(token)
        return self._parse(token, operator, token.part(len(operator)), zone)

    def _missing(self) -> Test | None:
        return None

    @abstractmethod
    def _parse(self, token: Token, operator: str, rest: Token, zone: tzinfo | None) -> Value:
        """Read a value except `none`; `rest` has no operator."""

    def _compared(
        self,
        token: Token,
        operator: str,
        read: Callable[[Token], OrderedLiteral],
        test_of: Callable[[Callable[[Any], bool], str], Test],
    ) -> Value:
        if ".." not in token.shape:
            literal = read(token.part(len(operator)))
            test = test_of(lexer.within(*literal.interval(operator)), literal.kind)
            return Value(operator + literal.text, test, literal.limit(operator))
        ends = list(token.parts(".."))
        if operator or len(ends) != 2 or not all(end.text for end in ends):
            raise token.error("a range has one value at each end and no operator: a..b")
        low, high = map(read, ends)
        if low.kind != high.kind:
            raise token.error("both ends of a range must be durations, or both dates")
        if low.start > high.start:
            raise token.error(f"the range runs backwards: write {high.text}..{low.text}")
        return Value(f"{low.text}..{high.text}", test_of(lexer.within(low.start, high.end), low.kind))


@dataclass(frozen=True)
class TextField(Field):
    """A field with texts. At least one text must match.

    A value is compared with the whole text, because `name:web-1` must not mean web-10. After `=`, `*` is literal.
    """

    texts: Callable[[TrackedEnvironment, MatchContext], Iterable[SafeText | None]]
    is_prefix: bool = False
    """Whether completion offers only the values that begin with the typed text."""
    canonical: Callable[[SafeText], SafeText] = lambda typed: typed
    known: Mapping[str, str] = field(default_factory=dict, repr=False)

    def values_of(self, tracked: TrackedEnvironment) -> Sequence[SafeText | None]:
        """Return the values for completion, or a single None without values."""
        return [text for text in self.texts(tracked, TIMELESS) if text] or [None]

    def _missing(self) -> Test:
        texts = self.texts
        return lambda tracked, context: not any(texts(tracked, context))

    def _parse(self, token: Token, operator: str, rest: Token, zone: tzinfo | None) -> Value:  # noqa: ARG002  as the others
        if operator not in ("", "="):
            typed = quote_if_needed(clean(token.text, 40))
            raise token.error(f"{self.name} cannot be compared; as text, quote it: {self.name}:{typed}")
        pattern = Pattern((clean(rest.text),)) if operator else lexer.parse_pattern(rest)
        if not pattern:
            raise token.error(f"a value is missing; {self.name}:{NONE} finds machines without a value")
        if pattern.plain is not None:
            pattern = Pattern((self.canonical(pattern.plain),))
        matches = lexer.text_test(pattern, is_exact=True)
        return Value(f"{operator}{pattern}", self._test(lambda text: matches(normalize(text))))

    def _test(self, matches: Callable[[str], bool]) -> Test:
        texts = self.texts

        def test(tracked: TrackedEnvironment, context: MatchContext) -> bool:
            for text in texts(tracked, context):  # noqa: SIM110  `any` takes twice as long, and this runs for every row
                if text and matches(text):
                    return True
            return False

        return test


@dataclass(frozen=True)
class VersionField(TextField):
    """A version: comparable, and `0.34` matches every 0.34.x. A value that is no version is a text."""

    def _parse(self, token: Token, operator: str, rest: Token, zone: tzinfo | None) -> Value:
        is_text = not is_release(rest.text.lower()) and ".." not in rest.shape
        if is_text and not operator:
            return super()._parse(token, operator, rest, zone)
        return self._compared(token, operator, lexer.parse_version, self._version_test)

    def _version_test(self, holds: Callable[[VersionKey], bool], _: str) -> Test:
        @lru_cache(maxsize=1024)  # a fleet of 10,000 environments has a dozen versions
        def matches(text: str) -> bool:
            return is_version(version := text.lower()) and holds(version_key(version))

        return self._test(matches)


@dataclass(frozen=True)
class NumberField(Field):
    """An instant, matched by age (`>90s`) or date (`>2026-11-01`), a share in percent (`<90`, `50..90`), or a number.

    A plain share matches the whole percent.
    """

    number: Callable[[TrackedEnvironment, MatchContext], float | None]
    kind: Filter

    def _missing(self) -> Test:
        number = self.number
        return lambda tracked, context: number(tracked, context) is None

    def _parse(self, token: Token, operator: str, rest: Token, zone: tzinfo | None) -> Value:  # noqa: ARG002  as the others
        match self.kind:
            case Filter.SHARE:
                return self._compared(token, operator, lexer.parse_percent, self._number_test)
            case Filter.NUMBER:
                return self._compared(token, operator, lexer.parse_number, self._number_test)
            case _:
                return self._compared(token, operator, partial(lexer.parse_time_span, zone=zone), self._number_test)

    def _number_test(self, holds: Callable[[float], bool], kind: str) -> Test:
        number = self.number

        def test(tracked: TrackedEnvironment, context: MatchContext) -> bool:
            value = number(tracked, context)
            if value is None:
                return False
            match kind:
                case "age":
                    return holds(max(context.at - value, 0.0))
                case "percent":
                    return holds(round(value * 100, _DECIMALS))
                case _:
                    return holds(value)

        return test


@dataclass(frozen=True)
class FlagField(Field):
    """A fact that holds or does not: `yes` or `no`."""

    holds: Callable[[TrackedEnvironment, MatchContext], bool | None]
    """Returns None for an unknown flag, which is neither `yes` nor `no`."""

    def _parse(self, token: Token, operator: str, rest: Token, zone: tzinfo | None) -> Value:  # noqa: ARG002  as the others
        word = rest.text.casefold()
        if word not in FLAGS or operator not in ("", "="):
            raise token.error(f"write {self.name}:yes or {self.name}:no")
        holds, is_wanted = self.holds, word == FLAGS[0]
        return Value(word, lambda tracked, context: holds(tracked, context) is is_wanted)


FLAGS: Final = ("yes", "no")
_DECIMALS: Final = 6
"""Rounding hides the error of a share such as 0.9, which would read as less than 90 %."""


def _is_unknown(tracked: TrackedEnvironment, context: MatchContext) -> bool:
    if tracked.clock_suspect or context.judge is None:
        return tracked.clock_suspect
    return context.judge.fleet.for_environment(tracked).is_unknown(tracked, context.judge.now)


STATUSES: Mapping[str, tuple[str, Test]] = {
    "on": ("up by Letta's rule, and no heartbeat missed", lambda tracked, _: tracked.presence is Presence.ONLINE),
    "late": ("up, but a heartbeat was missed", lambda tracked, _: tracked.presence is Presence.LATE),
    "off": ("down, or expected and not listed", lambda tracked, _: tracked.presence is Presence.OFFLINE),
    "gone": ("no longer listed", lambda tracked, _: tracked.presence is Presence.GONE),
    "unknown": ("cannot be judged now", _is_unknown),
    "old": ("off for over a day", lambda tracked, context: is_old(tracked, context.at)),
    "replaced": ("another machine took its place", lambda tracked, _: tracked.replaced_by is not None),
}

_STATUS_ALIASES = {"online": "on", "offline": "off"}
"""The words of JSON."""

_MARKS = {"flap": "flapping", "acknowledged": "acked"}

_WORDS: Final = {
    **{word: STATUSES[name][1] for word, name in _STATUS_ALIASES.items()},
    **{name: STATUSES[name][1] for name in ("late", "gone", "unknown")},
    "flapping": lambda tracked, _: tracked.is_flapping,
}
_LEAST_LETTERS = 3
"""`on` occurs in too many words."""


def state_test(word: str) -> Test | None:
    """Return the test of an abbreviated state or `flapping` (`off`), or None."""
    if len(word) < _LEAST_LETTERS:
        return None
    return next((test for name, test in _WORDS.items() if name.startswith(word.casefold())), None)


@dataclass(frozen=True)
class StatusField(Field):
    """The state, in the words of the screen or of JSON. A longer word may be cut."""

    def _parse(self, token: Token, operator: str, rest: Token, zone: tzinfo | None) -> Value:  # noqa: ARG002  as the others
        name = rest.text.casefold()
        if name not in STATUSES and len(name) >= _LEAST_LETTERS:
            name = next((word for word in (*_STATUS_ALIASES, *STATUSES) if word.startswith(name)), name)
        name = _STATUS_ALIASES.get(name, name)
        if name not in STATUSES or operator not in ("", "="):
            mark = _MARKS.get(name, name)
            if isinstance(FIELDS.get(mark), FlagField):
                raise token.error(f"write {mark}:yes; or {', '.join(STATUSES)}")
            nearest = did_you_mean(name, (*STATUSES, *_STATUS_ALIASES)).replace("mean ", f"mean {self.name}:")
            what = f"there is no {self.name} {clean(name, 20)}" if nearest else ""
            raise token.error(f"{what}{nearest}" or ", ".join(STATUSES))
        return Value(name, STATUSES[name][1])


META = "meta."

STATUS = "status"


def named_field(token: Token) -> Field:
    """Return the field of a name.

    Raises:
        QueryError: if no field has the name.
    """
    name = token.text.casefold()
    if name.startswith(META) and len(name) > len(META):
        return meta_field(clean(token.text[len(META) :]))
    if name in (META, META[:-1]):
        raise token.error("name a key of the metadata: meta.KEY:value")
    field = FIELDS.get(ALIASES.get(name, name))
    if field is None:
        raise token.error(f"there is no field {clean(token.text, 20)}; {_nearest(name[:40])}; or quote it")
    return field


def known_field(typed: str) -> str | None:
    """Return the name of a field or alias; None for metadata and unknown names."""
    name = typed.casefold()
    name = ALIASES.get(name, name)
    return name if name in FIELDS else None


def may_become_field(typed: str) -> bool:
    """Whether a field's name may begin so."""
    typed = typed.casefold()
    return typed.startswith(META) or any(name.startswith(typed) for name in (*FIELDS, *ALIASES, META))


def _nearest(typed: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

    names = [*FIELDS, *ALIASES]
    begun = [name for name in names if typed and name.startswith(typed)]
    nearest = list(dict.fromkeys([*begun, *get_close_matches(typed, names, cutoff=0.5)]))
    return f"the nearest: {', '.join(nearest[:2])}" if nearest else f"there are {', '.join([*FIELDS][:3])} and more"


def meta_field(key: str) -> Field:
    """Return the field of a key of the metadata, or of the row's unknown members."""
    return TextField(META + key, "a key of the metadata", lambda tracked, _: _texts_of(member_of(tracked, key)))


def member_of(tracked: TrackedEnvironment, path: str) -> JsonValue:
    """Return a value of the metadata, or else of the unknown members."""
    value = member(tracked.environment.metadata, path)
    return member(tracked.environment.unknown, path) if value is None else value


def member(value: JsonValue, path: str) -> JsonValue:
    """Return the value at a dotted path, or None. Keys may contain dots."""
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    end = path.find(".")
    while end >= 0:
        if (found := member(value.get(path[:end]), path[end + 1 :])) is not None:
            return found
        end = path.find(".", end + 1)
    return None


def _texts_of(value: JsonValue) -> Iterator[SafeText]:
    if isinstance(value, list):
        for item in value:
            yield from _texts_of(item)
    elif value is not None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield composed(text)


def _field_of(value: Presentation) -> Field | None:
    name = value.field_name
    about = f"{value.about}: {value.example}" if value.example else value.about
    if value.filter is Filter.STATE:
        return StatusField(name, ", ".join(STATUSES))
    if value.flag is not None:
        return FlagField(name, about, value.flag)
    if value.number is not None:
        return NumberField(name, about, value.number, value.filter)
    texts = value.texts or _texts_by(value.text)
    match value.filter:
        case Filter.NONE:
            return None
        case Filter.VERSION:
            return VersionField(name, about, texts)
        case kind:
            is_prefix = kind is Filter.PREFIX
            return TextField(name, about, texts, is_prefix, value.canonical, value.known)


def _texts_by(
    text: Callable[[TrackedEnvironment], SafeText | None],
) -> Callable[[TrackedEnvironment, MatchContext], tuple[SafeText | None]]:
    return lambda tracked, _: (text(tracked),)


_ORDER: Final = (
    "status name mode profile version branch directory os host node beat up seen first user pod device connection"
    " listener owner org id update pages paging permanent up7d 24h acked silenced flapping changed command"
)
"""Fields missing here come last."""

_ALL: Final = {each.name: each for value in PRESENTATIONS.values() if (each := _field_of(value)) is not None}

FIELDS: Final[Mapping[str, Field]] = {name: _ALL[name] for name in dict.fromkeys([*_ORDER.split(), *_ALL])}

OF_PAST: Final = frozenset(value.field_name for value in PRESENTATIONS.values() if value.needs_past)
"""Fields whose values need recorded time."""

ALIASES: Final[Mapping[str, str]] = {
    "state": STATUS,
    **{alias: each.field_name for each in PRESENTATIONS.values() for alias in each.aliases},
}
