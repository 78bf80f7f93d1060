"""Quiet hours that a recorded past suggests, as tables for the configuration file."""

from __future__ import annotations

import json
import re
import textwrap
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.fleet.alerting.alert_policy import EVERYTHING
from envwatch.fleet.alerting.quiet import quiet_end
from envwatch.fleet.events import flatten
from envwatch.fleet.outages import UptimeState, states
from envwatch.fleet.presence import Presence
from envwatch.fleet.watched_time import Span
from envwatch.model.text import SafeText, cells, composed, counted, enumerated, shortened
from envwatch.past.habits import LEAST_WEEKEND_DAYS, LEAST_WORKDAYS, Calendar, habit_of
from envwatch.query.field_types import TextField
from envwatch.query.fields import FIELDS
from envwatch.query.lexer import quote_if_needed
from envwatch.views.events.matching import matcher_or_none
from envwatch.views.output.formats import iso
from envwatch.views.report.profile_report import watched_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta, tzinfo

    from envwatch.fleet.alerting.alert_policy import AlertPolicy, Matcher
    from envwatch.fleet.alerting.quiet import QuietHours
    from envwatch.fleet.outages import Interval
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.past.habits import Habit, Kept
    from envwatch.views.report.profile_report import Recorded

VERSION: Final = 1
"""Of the JSON document."""

_TRAITS: Final = ("os", "user", "owner", "org", "pod", "name")
_SHORTEST_BEGIN: Final = 3
_WEEK_SLOTS: Final = 8 * 96
_WIDTH: Final = 79
_NAMES: Final = 12
_NAME_CELLS: Final = 40
_OFTEN: Final = 0.25
"""Losses a day outside the hours."""
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class HabitualRow(NamedTuple):
    """An environment that keeps its hours."""

    tracked: TrackedEnvironment
    kept: Kept
    lost_at: tuple[float, ...]
    """The instants of losses that would open an incident."""

    def outside(self, hours: Sequence[QuietHours], zone: tzinfo | None) -> int:
        """Count losses outside some hours."""
        return sum(quiet_end(hours, at, zone) is None for at in self.lost_at)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Quiet hours for environments with equal habits."""

    values: tuple[str, ...]
    """The filter, cut after commas."""
    hours: tuple[QuietHours, ...]
    rows: tuple[HabitualRow, ...]

    zone: tzinfo | None

    @property
    def filter(self) -> str:
        """The query, which matches exactly these environments."""
        return ",".join(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietSuggestions:
    """The suggestions for a profile."""

    profile: SafeText
    host: SafeText
    since: float
    until: float
    workdays: int
    """Watched for the most part, as the days of weekends."""
    weekend_days: int
    suggestions: tuple[Suggestion, ...]
    restless: tuple[str, ...]
    """A filter for rows with many outages outside their hours, cut after commas."""
    covered: tuple[TrackedEnvironment, ...]
    """Environments whose hours the configured quiet hours cover."""

    @property
    def is_watched_enough(self) -> bool:
        """Whether any habit can show."""
        return self.workdays >= LEAST_WORKDAYS and self.weekend_days >= LEAST_WEEKEND_DAYS


def suggestions_in(recorded: Recorded, policy: AlertPolicy, matcher: Matcher = EVERYTHING) -> QuietSuggestions:
    """Return the suggestions of a recorded period for the matching environments."""
    profile_state = recorded.last.profile_state
    period = Span(*(profile_state.clock.server_time(at) for at in (recorded.since, recorded.until)))
    watched = watched_in(recorded, period)
    began_at = watched.began_at
    if began_at is not None:
        period = Span(max(period.since, began_at), period.until)
    calendar = Calendar.between(*period, policy.zone)
    own_events = defaultdict(list)
    for event in flatten(recorded.events):
        own_events[event.id].append(event)
    found: list[HabitualRow] = []
    present = [each for each in profile_state.environments.values() if each.replaced_by is None]
    for tracked in present:
        events = own_events[tracked.environment.id]
        if events and _may_need_quiet(tracked, policy, matcher, period.until):
            intervals = states(tracked, events, watched, *period)
            if (kept := habit_of(intervals, calendar)) is not None:
                found.append(HabitualRow(tracked, kept, _losses(intervals, policy.alert_after)))
    are_covered = [_is_covered(row, policy, calendar) for row in found]
    workdays, weekend_days = calendar.days_in(watched.spans)
    filters = _Filters(present, period.until, recorded.profile)
    open_ones = [row for row, is_covered in zip(found, are_covered, strict=True) if not is_covered]
    restless = {
        row.tracked.environment.id
        for row in found
        if row.outside(row.kept.habit.hours, policy.zone) >= _OFTEN * row.kept.of
    }
    return QuietSuggestions(
        profile=recorded.profile,
        host=recorded.host,
        since=period.since,
        until=period.until,
        workdays=workdays,
        weekend_days=weekend_days,
        suggestions=tuple(_suggestions(open_ones, filters, policy.zone)),
        restless=filters.added_to(policy.ephemeral.query, restless) if restless else (),
        covered=tuple(row.tracked for row, is_covered in zip(found, are_covered, strict=True) if is_covered),
    )


def _suggestions(rows: Iterable[HabitualRow], filters: _Filters, zone: tzinfo | None) -> Iterator[Suggestion]:
    """Yield a block for rows with near hours, first for rows with a common trait."""
    left = {row.tracked.environment.id: row for row in rows}
    by_id = dict(left)
    groups: list[tuple[Habit, set[SafeText]]] = []
    for ids in sorted(filters.alike(), key=len, reverse=True):
        if len(ids) > 1 and ids <= left.keys() and (habit := _joined(by_id[id_].kept.habit for id_ in ids)):
            groups.append((habit, ids))
            left = {id_: row for id_, row in left.items() if id_ not in ids}
    for habit, ids in _merged([*groups, *_near(left)], filters):
        if values := filters.of(ids):
            hours = tuple(replace(each, filter=",".join(values)) for each in habit.hours)
            members = sorted((by_id[id_] for id_ in ids), key=lambda row: row.tracked.environment.label)
            yield Suggestion(values, hours, tuple(members), zone)


def _may_need_quiet(tracked: TrackedEnvironment, policy: AlertPolicy, matcher: Matcher, now: float) -> bool:
    return (
        tracked.presence not in (Presence.GONE, Presence.MISSING)
        and not policy.ends_by_design(tracked, now)
        and policy.alert.matches(tracked, now)
        and matcher.matches(tracked, now)
    )


def _is_covered(row: HabitualRow, policy: AlertPolicy, calendar: Calendar) -> bool:
    """Whether the configured hours cover a row's hours in the newest week."""
    week = calendar.slots[-_WEEK_SLOTS:]
    return bool(policy.quiet) and all(
        policy.quiet_period_end(row.tracked, at, week[-1]) is not None
        for at in week
        if quiet_end(row.kept.habit.hours, at, policy.zone) is not None
    )


def _losses(intervals: Sequence[Interval], alert_after: timedelta) -> tuple[float, ...]:
    return tuple(
        each.since
        for before, each in pairwise(intervals)
        if each.state is UptimeState.DOWN and before.state.is_up and each.lasted >= alert_after
    )


class _Filters:
    """Finds filters that match exactly some of the present environments."""

    def __init__(self, present: Iterable[TrackedEnvironment], now: float, profile: SafeText) -> None:
        self._present = {each.environment.id: each for each in present}
        self._now, self._profile = now, profile

    def alike(self) -> Iterable[set[SafeText]]:
        """Return the ids of environments with a common trait."""
        by_trait: dict[tuple[str, str], set[SafeText]] = defaultdict(set)
        for id_, each in self._present.items():
            for trait in _TRAITS:
                by_trait[trait, _value(each, trait)].add(id_)
        return by_trait.values()

    def of(self, ids: set[SafeText]) -> tuple[str, ...]:
        """Return a filter, cut after commas; empty if no filter fits."""
        return self.by_trait(ids) or self._by_name(ids)

    def added_to(self, query: SafeText, ids: set[SafeText]) -> tuple[str, ...]:
        """Return a filter that also has a query by names, if possible."""
        own = self.by_trait(ids, ("name",)) or self._by_name(ids)
        if own and query.startswith("name:") and own[0].startswith("name:") and " " not in query:
            return query, own[0].removeprefix("name:"), *own[1:]
        return self.of(ids)

    def by_trait(self, ids: set[SafeText], traits: Sequence[str] = _TRAITS) -> tuple[str, ...]:
        """Return the shortest filter by a common trait; empty without such a filter."""
        found: list[tuple[str, ...]] = []
        for trait in traits if len(ids) > 1 else ():
            values = {_value(self._present[id_], trait) for id_ in ids}
            if "" not in values and (trait != "name" or len(values) < len(ids)):
                end = "*" if trait == "name" else ""
                found.append(_values(trait, (f"{quote_if_needed(value)}{end}" for value in values)))
        return min(
            (each for each in found if self._selects(each) == ids), key=lambda each: len("".join(each)), default=()
        )

    def _by_name(self, ids: set[SafeText]) -> tuple[str, ...]:
        names = {self._present[id_].environment.label for id_ in ids}
        found = (
            _values("name", map(quote_if_needed, names)),
            _values("name", (f"={quote_if_needed(name)}" for name in names)),
            _values("id", (f"={quote_if_needed(id_)}" for id_ in ids)),
        )
        return next((each for each in found if self._selects(each) == ids), ())

    def _selects(self, values: Iterable[str]) -> set[SafeText]:
        if (matcher := matcher_or_none(",".join(values), self._profile)) is None:
            return set()
        return {id_ for id_, each in self._present.items() if matcher.matches(each, self._now)}


def _values(field: str, values: Iterable[str]) -> tuple[str, ...]:
    first, *others = sorted(values)
    return f"{field}:{first}", *others


def _value(tracked: TrackedEnvironment, trait: str) -> str:
    """Return a trait's value; of a name, the begin up to a digit (`laptop-` of laptop-12), if long enough."""
    if trait == "name":
        begin = re.split("[0-9]", tracked.environment.label, maxsplit=1)[0]
        return begin if len(begin) >= _SHORTEST_BEGIN else ""
    field = FIELDS[trait]
    return next((text or "" for text in field.values_of(tracked)), "") if isinstance(field, TextField) else ""


def _joined(habits: Iterable[Habit]) -> Habit | None:
    found, *others = habits
    for other in others:
        if (both := found.joined(other)) is None:
            return None
        found = both
    return found


def _near(rows: Mapping[SafeText, HabitualRow]) -> list[tuple[Habit, set[SafeText]]]:
    groups: list[tuple[Habit, set[SafeText]]] = []
    for id_, row in sorted(rows.items(), key=lambda item: repr(item[1].kept.habit)):
        for place, (habit, ids) in enumerate(groups):
            if (both := habit.joined(row.kept.habit)) is not None:
                groups[place] = both, ids | {id_}
                break
        else:
            groups.append((row.kept.habit, {id_}))
    return groups


def _merged(groups: Iterable[tuple[Habit, set[SafeText]]], filters: _Filters) -> list[tuple[Habit, set[SafeText]]]:
    """Unite groups with near hours and a common trait, or without any trait."""
    merged: list[tuple[Habit, set[SafeText]]] = []
    for habit, ids in groups:
        for place, (other, its_ids) in enumerate(merged):
            both = other.joined(habit)
            if both and (filters.by_trait(ids | its_ids) or not (filters.by_trait(ids) or filters.by_trait(its_ids))):
                merged[place] = both, ids | its_ids
                break
        else:
            merged.append((habit, ids))
    return merged


def tables_of(found: QuietSuggestions, section: str) -> str:
    """Return the suggestions as TOML for a section of the file, with comments; empty without suggestions."""
    name = "quiet" if not section else f"profiles.{_key(section)}.quiet"
    blocks = [[*_lines(each, name)] for each in found.suggestions]
    if found.restless:
        about = "These rows are often off outside their hours too. With this line, their losses raise no message:"
        blocks.append([*_comment(about), *(f"# {line}" for line in _setting("ephemeral", found.restless))])
    return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)


def _lines(suggestion: Suggestion, table: str) -> Iterator[str]:
    rows = suggestion.rows
    days, of = sum(row.kept.days for row in rows), sum(row.kept.of for row in rows)
    names = [shortened(row.tracked.environment.label, _NAME_CELLS, keep="ends") for row in rows[:_NAMES]]
    who = counted(len(rows), "environment")
    yield from _comment(f"{who}, which kept these hours on {_percent(days, of)} of the watched days:")
    yield from _comment(enumerated(names, len(rows)))
    outside = sum(row.outside(suggestion.hours, suggestion.zone) for row in rows)
    if outside:
        yield from _comment(f"{counted(outside, 'outage')} outside these hours.")
    for hours in suggestion.hours:
        yield f"[[{table}]]"
        yield from _setting("filter", suggestion.values)
        if hours.days_text:
            yield f'days = "{hours.days_text}"'
        if hours.hours_text:
            yield f'hours = "{hours.hours_text}"'


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // whole} %"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )


def _setting(name: str, values: Sequence[str]) -> Iterator[str]:
    text = ",".join(values)
    is_literal = '"' in text and "'" not in text
    line = f"{name} = '{text}'" if is_literal else f'{name} = "{_escaped(text)}"'
    if cells(composed(line)) <= _WIDTH:
        yield line
        return
    yield f'{name} = """\\'
    line = " "
    for value in values[:-1]:
        piece = f"{_escaped(value)},"
        if line.strip() and cells(composed(line + piece)) >= _WIDTH:
            yield f"{line}\\"
            line = " "
        line += piece
    yield f'{line}{_escaped(values[-1])}"""'


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else f'"{_escaped(name)}"'


def json_of(found: Iterable[QuietSuggestions]) -> bytes:
    """Return the suggestions as a JSON document in UTF-8."""
    document = {"version": VERSION, "profiles": [_profile(each) for each in found]}
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _profile(found: QuietSuggestions) -> dict[str, Any]:
    return {
        "profile": found.profile,
        "host": found.host,
        "since": iso(found.since),
        "until": iso(found.until),
        "workdays": found.workdays,
        "weekend_days": found.weekend_days,
        "suggestions": [
            {
                "filter": each.filter,
                "quiet": [{"days": hours.days_text or None, "hours": hours.hours_text or None} for hours in each.hours],
                "environments": [
                    {
                        "id": row.tracked.environment.id,
                        "name": row.tracked.environment.label,
                        "days_kept": row.kept.days,
                        "days_watched": row.kept.of,
                        "losses_outside": row.outside(each.hours, each.zone),
                    }
                    for row in each.rows
                ],
            }
            for each in found.suggestions
        ],
        "ephemeral": ",".join(found.restless) or None,
        "covered": [{"id": each.environment.id, "name": each.environment.label} for each in found.covered],
    }
