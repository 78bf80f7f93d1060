"""The user's view of the fleet. Groups follow the order of first rows, so a group with a late row leads."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.model import limits
from envwatch.model.text import EMPTY, SafeText, clean, composed, look_alikes, natural_key
from envwatch.query.language import Query, parse
from envwatch.query.presentation import PRESENTATIONS
from envwatch.views.table.columns import LOSSES, META, column_of, is_column, metadata_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from envwatch.views.table.baseline import Baseline
    from envwatch.views.table.block import BlockLine, LineKey


_DEFAULT_ORDER: Final = (Presence.OFFLINE, Presence.LATE, Presence.ONLINE, Presence.GONE)


_ROW_KEY: Final = 2

OLD: Final[LineKey] = ("old", "", "")

GROUPINGS: Final[Mapping[str, Callable[[TrackedEnvironment], SafeText | None]]] = {
    "profile": attrgetter("profile"),
    **{id_: PRESENTATIONS[id_].text for id_ in ("pod", "user", "os", "version", "mode", "branch")},
}


def is_grouping(id_: str) -> bool:
    """Whether `id_` is in `GROUPINGS` or like `meta.KEY`."""
    return id_ in GROUPINGS or (id_.startswith(META) and is_column(id_))


def grouping_of(id_: str) -> Callable[[TrackedEnvironment], SafeText | None]:
    """Return the reader of a group's shared value."""
    return GROUPINGS[id_] if id_ in GROUPINGS or not is_grouping(id_) else metadata_text(id_)


class Preset(StrEnum):
    """Parts of the fleet for the built-in views."""

    ALL = "all"
    OFF = "off"
    PAGING = "paging"
    CHANGED = "changed"

    @cached_property
    def query(self) -> Query:
        """The preset's query, empty for the whole fleet."""
        return parse(_PRESETS[self][0])

    @property
    def description(self) -> str:
        """The text of help and palette."""
        return _PRESETS[self][1]


_PRESETS: Final = {
    Preset.ALL: ("", "Show all"),
    Preset.OFF: ("status:off,late,gone", "Show off and late"),
    Preset.PAGING: ("paging:yes", "Show paging"),
    Preset.CHANGED: ("changed:yes", "Show changed"),
}


@dataclass(frozen=True, slots=True)
class View:
    """The user's choice of rows and columns."""

    preset: Preset = Preset.ALL
    query: Query = field(default_factory=Query)
    sort: str | None = None
    """Column id; None for the default order, which cannot be inverted."""
    is_inverted: bool = False
    columns: tuple[str, ...] = ()
    baseline: Baseline | None = None
    compares: bool = False
    group: str | None = None
    folded: frozenset[LineKey] = frozenset({OLD})
    named: NamedView | None = None
    """The last chosen configured view, even if changed since; None after the key `0`."""
    view_columns: tuple[str, ...] | None = None
    """The named view's columns, which replace `columns`."""

    @property
    def visible_columns(self) -> tuple[str, ...]:
        """Column ids in order; empty for the default."""
        return self.columns if self.view_columns is None else self.view_columns

    @property
    def name(self) -> str:
        """The named view's name, with `*` after a change; empty without a named view."""
        if self.named is None:
            return ""
        chosen = self.named.chosen(self)
        is_same = self.chooses_like(replace(chosen, compares=self.compares)) and self.orders_like(chosen)
        return self.named.name if is_same and self.view_columns == chosen.view_columns else f"{self.named.name}*"

    @property
    def has_named_query(self) -> bool:
        """Whether the named view has the same query."""
        return self.named is not None and self.query == self.named.chosen(self).query

    @property
    def has_named_order(self) -> bool:
        """Whether the named view has the same order and groups."""
        return self.named is not None and self.orders_like(self.named.chosen(self))

    def with_columns(self, columns: tuple[str, ...]) -> View:
        """Return the view with new `view_columns` if set, else `columns`."""
        if self.view_columns is None:
            return replace(self, columns=columns)
        return replace(self, view_columns=columns)

    @property
    def is_narrowed(self) -> bool:
        """Whether the view may leave out environments."""
        return self.preset is not Preset.ALL or bool(self.query) or self.compares

    def chooses_like(self, other: View) -> bool:
        """Whether another view shows the same environments."""
        chosen, others = (
            (view.preset, view.query, view.baseline.marked_at if view.compares and view.baseline is not None else None)
            for view in (self, other)
        )
        return chosen == others

    def orders_like(self, other: View) -> bool:
        """Whether another view has the same order and groups."""
        return (self.sort, self.is_inverted, self.group) == (other.sort, other.is_inverted, other.group)

    @property
    def widened(self) -> View:
        """The same view of the whole fleet."""
        return replace(self, preset=Preset.ALL, query=Query(), compares=False)


class NamedView(NamedTuple):
    """A view for a key, the palette or `--view`, built in or configured."""

    name: str
    filter: str = ""
    columns: tuple[str, ...] = ()
    """Empty for the columns outside of the view."""
    sort: str | None = None
    """A column, `LOSSES`, or None for the setting `sort`."""
    group: str | None = None
    key: str = ""
    preset: Preset | None = None

    @property
    def is_built_in(self) -> bool:
        """Whether the view is in `BUILT_IN_VIEWS`."""
        return BUILT_IN_VIEWS.get(self.name) is self

    @property
    def id(self) -> str:
        """The key binding's id."""
        return f"{'find' if self.is_built_in else 'view'}.{self.name}"

    @property
    def description(self) -> str:
        """The text of help and palette."""
        if not self.is_built_in:
            return f"View: {self.name}"
        return "Reset the view except the columns" if self.preset is None else self.preset.description

    def chosen(self, view: View) -> View:
        """Return the view after this choice: a preset replaces only the preset; else only columns and baseline stay."""
        if self.preset is not None:
            return replace(view, preset=self.preset)
        return View(
            query=parse(self.filter, has_past=True),
            sort=None if self.sort == LOSSES else self.sort,
            group=self.group,
            columns=view.columns,
            view_columns=self.columns or None,
            baseline=view.baseline,
            named=None if self.is_built_in else self,
        )


BUILT_IN_VIEWS: Final[Mapping[str, NamedView]] = {
    view.name: view
    for view in (
        *(NamedView(name=preset, key=key, preset=preset) for key, preset in zip("1234", Preset, strict=True)),
        NamedView(name="reset", key="0"),
    )
}


def ambiguous_names(names: Mapping[SafeText, int]) -> frozenset[SafeText]:
    """Return repeated names and look-alikes; `names` counts the uses."""
    return look_alikes(names) | {name for name, count in names.items() if count > 1}


class AmbiguousNames:
    """A fleet's ambiguous names, cached because names seldom change."""

    def __init__(self) -> None:
        self._counts: Mapping[SafeText, int] = {}
        self._found: frozenset[SafeText] = frozenset()

    def among(self, environments: Iterable[TrackedEnvironment]) -> frozenset[SafeText]:
        """Return the names, as the same object if unchanged.

        An environment under several profiles is not ambiguous, because the id cannot tell the rows apart.
        """
        rows = [tracked.environment for tracked in environments]
        counts = dict(Counter([row.label for row in rows]))  # a plain dict compares faster
        if repeated := {label for label, count in counts.items() if count > 1}:
            counts |= Counter(label for label, _ in {(row.label, row.id) for row in rows if row.label in repeated})
        if counts != self._counts:
            self._counts, self._found = counts, ambiguous_names(counts)
        return self._found


_ID_TAIL: Final = 4
_ID_PART: Final = re.compile(r"[^\W_]+")
_NO_LETTERS: Final = re.compile(r"^[\W_]+(?=.)")


def id_tail(name: SafeText, id_: SafeText | None, ambiguous: frozenset[SafeText]) -> SafeText:
    """Return a space and the last id part missing in an ambiguous name, or the id's end if the name has all parts.

    Empty for an unambiguous name.
    """
    if id_ is None or name not in ambiguous:
        return EMPTY
    ends = (len(id_), *(part.end() for part in reversed([*_ID_PART.finditer(id_)])))
    parts = (id_[max(end - _ID_TAIL, 0) : end] for end in ends)
    known = _letters(name)
    part = next((part for part in parts if _letters(part) not in known), id_[-_ID_TAIL:])
    return composed(f" {_NO_LETTERS.sub('', part)}")


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def by_name(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return environments sorted by name, then id."""
    return sorted(environments, key=name_key)


def in_default_order(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return environments by presence, then newest losses or longest-silent late rows first, then by name."""
    return by_presence(by_name(environments))


def by_presence(environments: Iterable[TrackedEnvironment]) -> list[TrackedEnvironment]:
    """Return name-sorted environments in the default order."""
    ranks: dict[Presence, list[TrackedEnvironment]] = {presence: [] for presence in _DEFAULT_ORDER}
    for tracked in environments:
        ranks[tracked.verdict.presence].append(tracked)
    for presence in (Presence.OFFLINE, Presence.GONE):
        ranks[presence].sort(key=attrgetter("lost_at"), reverse=True)
    ranks[Presence.LATE].sort(key=attrgetter("environment.last_seen_alive_at"))
    return list(chain.from_iterable(ranks.values()))


def by_value(
    environments: Iterable[TrackedEnvironment],
    rank: Callable[[TrackedEnvironment], Any],
    *,
    is_inverted: bool,
) -> list[TrackedEnvironment]:
    """Return environments stably sorted by `rank`, greatest first if inverted, rows without a rank last."""
    ranks: defaultdict[Any, list[TrackedEnvironment]] = defaultdict(list)
    for tracked in environments:
        ranks[rank(tracked)].append(tracked)
    without = ranks.pop(None, [])
    valued = (ranks[value] for value in sorted(ranks, reverse=is_inverted))
    return list(chain(*valued, without))


def name_key(tracked: TrackedEnvironment) -> str:
    """Return the sort key of name, then id. A text compares faster than a pair; clean text has no NUL."""
    environment = tracked.environment
    return f"{natural_key(environment.label)}\0{environment.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHeader:
    """The line above a group."""

    key: LineKey
    title: SafeText
    environments: tuple[TrackedEnvironment, ...]
    is_open: bool
    counts: Mapping[Presence, int]

    def __len__(self) -> int:
        return len(self.environments)


TableLine: TypeAlias = TrackedEnvironment | GroupHeader
Line: TypeAlias = "TableLine | BlockLine"
"""A line; an environment in the block is an unfolded incident's member."""


def index_of_line(lines: Sequence[Line], key: LineKey) -> int | None:
    """Return the index of a key's line."""
    if len(key) != _ROW_KEY:
        return next((place for place, line in enumerate(lines) if line.key == key), None)
    profile, id_ = key
    for place, line in enumerate(lines):
        if isinstance(line, TrackedEnvironment) and line.environment.id == id_ and line.profile == profile:
            return place
    return None


def group_key(group: str, value: SafeText | None) -> LineKey:
    """Return a group's key; None equals an empty text."""
    return ("group", group, value or "")


def groups_of(
    rows: Sequence[TrackedEnvironment],
    group: str,
    folded: frozenset[LineKey],
    stand_in: TrackedEnvironment | None = None,
) -> list[TableLine]:
    """Return the lines of groups; `stand_in` decides the group of the row with the same key."""
    value_of = grouping_of(group)
    values = list(map(value_of, rows))
    if stand_in is not None and (held := index_of_line(rows, stand_in.key)) is not None:
        values[held] = value_of(stand_in)
    groups: defaultdict[SafeText | None, list[TrackedEnvironment]] = defaultdict(list)
    for tracked, value in zip(rows, values, strict=True):
        groups[value or None].append(tracked)
    name = clean(group) if group.startswith(META) else column_of(group).title.lower()
    lines: list[TableLine] = []
    for value, members in groups.items():
        title = composed(f"{name} {value}" if value else f"no {name}")
        lines += _group_lines(group_key(group, value), title, members, folded)
    return lines


def old_group(old: Sequence[TrackedEnvironment], folded: frozenset[LineKey]) -> Iterable[TableLine]:
    """Return the lines of the group `OLD`."""
    title = clean(f"off for over {limits.OLD_AFTER / timedelta(hours=1):.0f} h")
    return _group_lines(OLD, title, old, folded) if old else ()


def _group_lines(
    key: LineKey, title: SafeText, members: Sequence[TrackedEnvironment], folded: frozenset[LineKey]
) -> Iterable[TableLine]:
    counts = Counter([tracked.verdict.presence for tracked in members])
    header = GroupHeader(key=key, title=title, environments=tuple(members), is_open=key not in folded, counts=counts)
    return (header, *members) if header.is_open else (header,)
