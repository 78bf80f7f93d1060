"""The kinds of field that a filter knows, and what a typed value means to each.

Owns the matching of one value. Knows nothing of which fields there are (`fields`) or of the line they stand in
(`query`), and needs no clock: a value becomes a test that takes the moment. Whatever is matched is cleaned text, and
so is what was typed: a pasted control character looks for the escape that stands on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from envwatch.fleet.presence import Presence
from envwatch.model.text import Clean, clean
from envwatch.model.versions import is_release
from envwatch.query.lexer import normalize, written
from envwatch.query.literals import Pattern, pattern_of, text_test, time_span_of, version_of, version_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import tzinfo

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.query.lexer import Token


class MatchContext(NamedTuple):
    """What a test may have to know beside a watch and the moment."""

    listings: int
    """How many were believed."""
    acks: Acks
    """Problems that are acknowledged."""


Test: TypeAlias = "Callable[[TrackedEnvironment, float, MatchContext], bool]"
"""Whether a watch has what was asked for, at a moment (server's clock, ms)."""

NONE = "none"
"""The value of a field that an environment does not have; quoted, it is a text like any other."""


_OPERATORS = (">=", "<=", ">", "<", "=")


class Limit(NamedTuple):
    """The one limit of a value that is open to the other side."""

    kind: str
    """Of what can be sorted together."""
    event_presence: Literal["from", "to"]
    """Whether all behind the limit is meant, or all before it."""
    at: Any
    """A number or key that sorts among its kind."""


@dataclass(frozen=True, slots=True)
class Value:
    """One of the alternatives of a term. Two are equal if they are written alike."""

    written: str
    """As it must be typed to mean the same again."""
    test: Test = field(compare=False, repr=False)
    limit: Limit | None = field(default=None, compare=False, repr=False)
    """Where it begins or ends, if an operator leaves the other side open."""


@dataclass(frozen=True, slots=True)
class TextField:
    """A field with at most one text: a plain value is looked for within it, one with wildcards must match it whole."""

    name: str
    about: str
    text: Callable[[Environment], Clean | None]
    is_prefix: bool = False
    """A plain value must begin it: `os:win` must not find darwin, nor `mode:strict` what is unrestricted."""
    meant: Callable[[Clean], Clean] = lambda typed: typed
    """What a typed value stands for."""

    def value(self, token: Token, zone: tzinfo | None) -> Value:  # noqa: ARG002  # only instants know zones
        """Read a text, or `none`."""
        text = self.text
        if _is_none(token):
            return Value(NONE, lambda tracked, _, __: not text(tracked.environment))
        operator, pattern = _operator_and_pattern(self, token)
        if pattern.plain is not None:
            pattern = Pattern((self.meant(pattern.plain),))
        has = text_test(pattern, is_exact=bool(operator), is_prefix=self.is_prefix)

        def test(tracked: TrackedEnvironment, _: float, __: MatchContext) -> bool:
            sent = text(tracked.environment)
            return has(normalize(sent)) if sent else False

        return Value(f"{operator}{pattern}", test)

    def seen(self, tracked: TrackedEnvironment) -> Iterable[Clean | None]:
        """Return what a watch has of it, as it can be asked for; None for nothing."""
        return (self.text(tracked.environment) or None,)


@dataclass(frozen=True, slots=True)
class ListField:
    """A field with any number of texts, one of which must match."""

    name: str
    about: str
    texts: Callable[[Environment], Iterable[Clean]]

    def value(self, token: Token, zone: tzinfo | None) -> Value:  # noqa: ARG002  # only instants know zones
        """Read a text, or `none`."""
        texts = self.texts
        if _is_none(token):
            return Value(NONE, lambda tracked, _, __: not any(texts(tracked.environment)))
        operator, pattern = _operator_and_pattern(self, token)
        has = text_test(pattern, is_exact=bool(operator))
        return Value(
            f"{operator}{pattern}",
            lambda tracked, _, __: any(bool(sent) and has(normalize(sent)) for sent in texts(tracked.environment)),
        )

    def seen(self, tracked: TrackedEnvironment) -> Iterable[Clean | None]:
        """Return what a watch has of it; None for nothing."""
        return [text for text in self.texts(tracked.environment) if text] or (None,)


@dataclass(frozen=True, slots=True)
class VersionField:
    """A field with a version: it can be compared, and `0.34` means all of 0.34.x."""

    name: str
    about: str
    text: Callable[[Environment], Clean | None]

    def value(self, token: Token, zone: tzinfo | None) -> Value:
        """Read a version with or without an operator, a range, a text or `none`."""
        operator, rest = _operator(token)
        if ".." in rest.shape:
            return self._range(token, operator)
        if not operator and not is_release(rest.text.lower()):
            return TextField(self.name, self.about, self.text).value(token, zone)
        version = version_of(rest)
        test = self._test(version_test(version, operator or "="))
        return Value(operator + version.text, test, _limit("version", operator, version.start, version.end))

    def _range(self, token: Token, operator: str) -> Value:
        low, high = (version_of(end) for end in _ends(token, operator))
        if low.start > high.start:
            raise token.error(f"the range runs backwards: write {high.text}..{low.text}")
        is_from, is_to = version_test(low, ">="), version_test(high, "<=")
        return Value(f"{low.text}..{high.text}", self._test(lambda sent: is_from(sent) and is_to(sent)))

    def _test(self, has: Callable[[str], bool]) -> Test:
        text = self.text
        has_once = lru_cache(maxsize=1024)(has)  # a fleet of 10,000 has a dozen versions

        def test(tracked: TrackedEnvironment, _: float, __: MatchContext) -> bool:
            sent = text(tracked.environment)
            return has_once(sent.lower()) if sent else False

        return test

    def seen(self, tracked: TrackedEnvironment) -> Iterable[Clean | None]:
        """Return what a watch has of it, as it can be asked for; None for nothing."""
        return (self.text(tracked.environment) or None,)


@dataclass(frozen=True, slots=True)
class InstantField:
    """A field with an instant, asked for by how long ago it was (`>90s`) or by when (`>2026-11-01`)."""

    name: str
    about: str
    at: Callable[[TrackedEnvironment], float | None]

    def value(self, token: Token, zone: tzinfo | None) -> Value:
        """Read a duration or a date with or without an operator, a range or `none`."""
        at = self.at
        if _is_none(token):
            return Value(NONE, lambda tracked, _, __: at(tracked) is None)
        operator, rest = _operator(token)
        if ".." in rest.shape:
            return self._range(token, operator, zone)
        stretch = time_span_of(rest, zone)
        test = self._test(*stretch.bounds(operator), is_age=stretch.is_age)
        # A duration is a point: who leaves out nothing but that leaves out nothing.
        kind, end = ("age", stretch.start) if stretch.is_age else ("date", stretch.end)
        return Value(operator + stretch.text, test, _limit(kind, operator, stretch.start, end))

    def _range(self, token: Token, operator: str, zone: tzinfo | None) -> Value:
        low, high = (time_span_of(end, zone) for end in _ends(token, operator))
        if low.is_age != high.is_age:
            raise token.error("both ends of a range must be durations, or both dates")
        if low.start > high.start:
            raise token.error(f"the range runs backwards: write {high.text}..{low.text}")
        return Value(f"{low.text}..{high.text}", self._test(low.start, high.end, is_age=low.is_age))

    def _test(self, start: float, end: float, *, is_age: bool) -> Test:
        at = self.at

        def has_age(tracked: TrackedEnvironment, now: float, _: MatchContext) -> bool:
            then = at(tracked)
            return then is not None and start <= max(now - then, 0.0) < end

        def has_date(tracked: TrackedEnvironment, _: float, __: MatchContext) -> bool:
            then = at(tracked)
            return then is not None and start <= then < end

        return has_age if is_age else has_date


def _is_changed(tracked: TrackedEnvironment, _: float, known: MatchContext) -> bool:
    return tracked.is_fresh(known.listings)


def _is_acknowledged(tracked: TrackedEnvironment, _: float, known: MatchContext) -> bool:
    return tracked.environment.id in known.acks


STATUSES: Mapping[str, tuple[str, Test]] = {
    "online": ("up by the official rule, late ones included", lambda tracked, _, __: tracked.verdict.is_up),
    "late": ("up, but a heartbeat was missed", lambda tracked, _, __: tracked.presence is Presence.LATE),
    "offline": ("down, and still listed", lambda tracked, _, __: tracked.presence is Presence.OFFLINE),
    "gone": ("no longer listed", lambda tracked, _, __: tracked.presence is Presence.GONE),
    "flapping": ("coming and going, whatever it is now", lambda tracked, _, __: tracked.is_flapping),
    "doubted": ("marked clk?: its heartbeat fits no clock", lambda tracked, _, __: tracked.clock_suspect),
    "changed": ("came, went or reconnected just now", _is_changed),
    "acknowledged": ("a problem that somebody has seen to", _is_acknowledged),
}
"""What each status means, and its test; they overlap."""

_STATUS_ALIASES = {
    "on": "online",
    "off": "offline",
    "flap": "flapping",
    "clk?": "doubted",
    "clock?": "doubted",
    "acked": "acknowledged",
}
"""As the screen shows them."""


_SHOWN_STATUSES = ("online", "late", "offline", "gone", "flapping")
"""Those that STATE tells in a word, or the beginning of one."""
_LEAST_LETTERS = 3
"""Of a state's beginning: as a word, `on` stands in too much else, and `status:o` may become two."""


def state_test(word: str) -> Test | None:
    """Return the test of the state that a word is the beginning of, None if of none: `off`, `offline`, `late`."""
    begun = (name for name in _SHOWN_STATUSES if name.startswith(word.casefold()) and len(word) >= _LEAST_LETTERS)
    return next((STATUSES[name][1] for name in begun), None)


@dataclass(frozen=True, slots=True)
class StatusField:
    """The verdict, by the beginning of its name: `on` must not find what is gone."""

    name: str
    about: str

    def value(self, token: Token, zone: tzinfo | None) -> Value:  # noqa: ARG002  # only instants know zones
        """Read one of the statuses."""
        typed = token.part(1) if token.shape.startswith("=") else token
        name = typed.text.casefold()
        name = _STATUS_ALIASES.get(name, name)
        if len(name) >= _LEAST_LETTERS:
            name = next((known for known in STATUSES if known.startswith(name)), name)
        if name not in STATUSES:
            raise token.error(f"{self.name}: {', '.join(STATUSES)}")
        return Value(name, STATUSES[name][1])


@dataclass(frozen=True, slots=True)
class ProfileField:
    """The profile under which an environment is listed."""

    name: str
    about: str

    def value(self, token: Token, zone: tzinfo | None) -> Value:  # noqa: ARG002  # only instants know zones
        """Read a part of a name, or `none`."""
        if _is_none(token):
            return Value(NONE, lambda tracked, _, __: not tracked.profile)
        operator, pattern = _operator_and_pattern(self, token)
        has = text_test(pattern, is_exact=bool(operator))
        return Value(f"{operator}{pattern}", lambda tracked, _, __: has(normalize(tracked.profile)))

    def seen(self, tracked: TrackedEnvironment) -> Iterable[Clean | None]:
        """Return what a watch has of it; None for nothing."""
        return (tracked.profile or None,)


Field: TypeAlias = StatusField | ProfileField | TextField | ListField | VersionField | InstantField
"""One thing to ask for, of any kind."""


def _is_none(token: Token) -> bool:
    return token.shape.casefold() == NONE


def _operator(token: Token) -> tuple[str, Token]:
    for operator in _OPERATORS:
        if token.shape.startswith(operator):
            return operator, token.part(len(operator))
    return "", token


def _operator_and_pattern(field: TextField | ListField | ProfileField, token: Token) -> tuple[str, Pattern]:
    operator, rest = _operator(token)
    if operator not in ("", "="):
        raise token.error(
            f"{field.name} cannot be compared; as text, quote it: {field.name}:{written(clean(token.text, 40))}"
        )
    pattern = Pattern((clean(rest.text),)) if operator else pattern_of(rest)
    if not pattern:
        raise token.error(f"a value is missing; {field.name}:{NONE} finds what has none")
    return operator, pattern


def _limit(kind: str, operator: str, start: Any, end: Any) -> Limit | None:  # noqa: ANN401  # whatever sorts
    """Return the limit that an operator makes of what begins and ends there."""
    match operator:
        case ">":
            return Limit(kind, "from", end)
        case ">=":
            return Limit(kind, "from", start)
        case "<":
            return Limit(kind, "to", start)
        case "<=":
            return Limit(kind, "to", end)
        case _:
            return None


def _ends(token: Token, operator: str) -> tuple[Token, Token]:
    low, *high = token.parts("..")
    if operator or len(high) != 1 or not low.text or not high[0].text:
        raise token.error("a range has one value at each end and no operator: a..b")
    return low, high[0]
