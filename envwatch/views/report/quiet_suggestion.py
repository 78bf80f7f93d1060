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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta, tzinfo

    from envwatch.fleet.alerting.alert_policy import AlertPolicy, Matcher
    from envwatch.fleet.alerting.quiet import QuietHours
    from envwatch.fleet.outages import Interval
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.past.habits import Habit, Kept
    from envwatch.views.report.profile_report import Recorded

VERSION: Final = 1
"""Of the JSON document."""

_TRAITS: Final = ("os", "user", "owner", "org", "pod")
_SHORTEST_GLOB: Final = 3
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


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Quiet hours for environments with equal habits."""

    values: tuple[str, ...]
    """The filter's alternatives, of which the first begins with the field."""
    hours: tuple[QuietHours, ...]
    rows: tuple[HabitualRow, ...]

    zone: tzinfo | None

    def outside(self, row: HabitualRow) -> int:
        """Return the number of a row's losses outside the hours."""
        return sum(quiet_end(self.hours, at, self.zone) is None for at in row.lost_at)

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
    covered: list[TrackedEnvironment] = []
    present = [each for each in profile_state.environments.values() if each.replaced_by is None]
    for tracked in present:
        events = own_events[tracked.environment.id]
        if not events or not _may_need_quiet(tracked, policy, matcher, period.until):
            continue
        intervals = states(tracked, events, watched, *period)
        if (kept := habit_of(intervals, calendar)) is None:
            continue
        if _is_covered(kept.habit.hours, tracked, policy, calendar):
            covered.append(tracked)
        else:
            found.append(HabitualRow(tracked, kept, _losses(intervals, policy.alert_after)))
    workdays, weekend_days = calendar.days_in(watched.spans)
    return QuietSuggestions(
        profile=recorded.profile,
        host=recorded.host,
        since=period.since,
        until=period.until,
        workdays=workdays,
        weekend_days=weekend_days,
        suggestions=tuple(suggestions_for(found, present, calendar, recorded.profile)),
        covered=tuple(covered),
    )


def suggestions_for(
    rows: Iterable[HabitualRow], present: Sequence[TrackedEnvironment], calendar: Calendar, profile: SafeText
) -> Iterator[Suggestion]:
    """Yield blocks for rows; no filter matches any other environment that is present.

    Rows with a common trait share a block if their hours are near enough, then rows with near hours.
    """
    by_id = {row.tracked.environment.id: row for row in rows}

    def selects(query: str) -> set[SafeText]:
        matcher = matcher_or_none(query, profile)
        if matcher is None:
            return set()
        return {each.environment.id for each in present if matcher.matches(each, calendar.slots[-1])}

    left = dict(by_id)
    groups: list[tuple[Habit, set[SafeText]]] = []
    alike = [{row.environment.id for row in some} for some in _with_common_trait(present)]
    for ids in sorted(alike, key=len, reverse=True):
        if len(ids) > 1 and ids <= left.keys() and (habit := _joined(by_id[id_].kept.habit for id_ in ids)):
            groups.append((habit, ids))
            left = {id_: row for id_, row in left.items() if id_ not in ids}
    for habit, ids in _merged([*groups, *_near(left)], lambda ids: _by_trait(by_id, ids, selects) is not None):
        if (values := _by_trait(by_id, ids, selects) or _by_name(by_id, ids, selects)) is not None:
            hours = tuple(replace(each, filter=",".join(values)) for each in habit.hours)
            members = sorted((by_id[id_] for id_ in ids), key=lambda row: row.tracked.environment.label)
            yield Suggestion(values, hours, tuple(members), calendar.zone)


def _may_need_quiet(tracked: TrackedEnvironment, policy: AlertPolicy, matcher: Matcher, now: float) -> bool:
    return (
        tracked.presence not in (Presence.GONE, Presence.MISSING)
        and not policy.ends_by_design(tracked, now)
        and policy.alert.matches(tracked, now)
        and matcher.matches(tracked, now)
    )


def _is_covered(
    hours: Sequence[QuietHours], tracked: TrackedEnvironment, policy: AlertPolicy, calendar: Calendar
) -> bool:
    """Whether the configured hours cover these hours, at each quarter of an hour of the newest week."""
    week = calendar.slots[-8 * 96 :]
    return bool(policy.quiet) and all(
        policy.quiet_period_end(tracked, at, week[-1]) is not None
        for at in week
        if quiet_end(hours, at, policy.zone) is not None
    )


def _losses(intervals: Sequence[Interval], alert_after: timedelta) -> tuple[float, ...]:
    return tuple(
        each.since
        for before, each in pairwise(intervals)
        if each.state is UptimeState.DOWN and before.state.is_up and each.lasted >= alert_after
    )


def _with_common_trait(present: Iterable[TrackedEnvironment]) -> Iterator[list[TrackedEnvironment]]:
    by_trait: dict[tuple[str, str], list[TrackedEnvironment]] = defaultdict(list)
    for each in present:
        for trait in _TRAITS:
            by_trait[trait, _value(each, trait)].append(each)
        by_trait["name", _letters(each)].append(each)
    yield from by_trait.values()


def _value(tracked: TrackedEnvironment, trait: str) -> str:
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


def _merged(
    groups: Iterable[tuple[Habit, set[SafeText]]], have_trait: Callable[[set[SafeText]], bool]
) -> list[tuple[Habit, set[SafeText]]]:
    """Return the groups; groups with near hours are one if a trait is common, or if neither has a trait."""
    merged: list[tuple[Habit, set[SafeText]]] = []
    for habit, ids in groups:
        for place, (other, its_ids) in enumerate(merged):
            both = other.joined(habit)
            if both is not None and (have_trait(ids | its_ids) or not (have_trait(ids) or have_trait(its_ids))):
                merged[place] = both, ids | its_ids
                break
        else:
            merged.append((habit, ids))
    return merged


def _by_trait(
    rows: Mapping[SafeText, HabitualRow], ids: set[SafeText], selects: Callable[[str], set[SafeText]]
) -> tuple[str, ...] | None:
    """Return the shortest filter by one trait for exactly these environments."""
    found: list[tuple[str, ...]] = []
    if len(ids) == 1:
        return None
    for trait in (*_TRAITS, "name"):
        values = {_letters(rows[id_].tracked) if trait == "name" else _value(rows[id_].tracked, trait) for id_ in ids}
        if "" in values or (trait == "name" and min(map(len, values)) < _SHORTEST_GLOB):
            continue
        end = "*" if trait == "name" else ""
        query = _query(trait, (f"{quote_if_needed(value)}{end}" for value in values))
        if selects(",".join(query)) == ids:
            found.append(query)
    return min(found, key=lambda query: len(",".join(query)), default=None)


def _by_name(
    rows: Mapping[SafeText, HabitualRow], ids: set[SafeText], selects: Callable[[str], set[SafeText]]
) -> tuple[str, ...] | None:
    """Return the filter by names for exactly these environments, by ids if names are not unique."""
    names = {rows[id_].tracked.environment.label for id_ in ids}
    queries = (
        _query("name", map(quote_if_needed, names)),
        _query("name", (f"={quote_if_needed(name)}" for name in names)),
        _query("id", (f"={quote_if_needed(id_)}" for id_ in ids)),
    )
    return next((query for query in queries if selects(",".join(query)) == ids), None)


def _query(field: str, values: Iterable[str]) -> tuple[str, ...]:
    first, *others = sorted(values)
    return f"{field}:{first}", *others


def _letters(tracked: TrackedEnvironment) -> str:
    """Return the begin of a name up to a digit: `laptop-` of laptop-12."""
    return re.split("[0-9]", tracked.environment.label, maxsplit=1)[0]


def tables_of(found: QuietSuggestions, section: str) -> str:
    """Return the suggestions as TOML for a section of the file, with comments; empty without suggestions."""
    name = "quiet" if not section else f"profiles.{_key(section)}.quiet"
    return "\n".join("".join(f"{line}\n" for line in _lines(each, name)) for each in found.suggestions)


def _lines(suggestion: Suggestion, table: str) -> Iterator[str]:
    rows = suggestion.rows
    days, of = sum(row.kept.days for row in rows), sum(row.kept.of for row in rows)
    names = [shortened(row.tracked.environment.label, _NAME_CELLS, keep="ends") for row in rows[:_NAMES]]
    who = counted(len(rows), "environment")
    yield from _comment(f"{who}, which kept these hours on {_percent(days, of)} of the watched days:")
    yield from _comment(enumerated(names, len(rows)))
    outside = sum(map(suggestion.outside, rows))
    if outside:
        advice = "; if nobody is needed then, the filter suits `ephemeral`" if outside >= _OFTEN * of else ""
        yield from _comment(f"{counted(outside, 'outage')} outside these hours{advice}.")
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
    """Yield a text of values; a long text is cut after commas."""
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
                        "losses_outside": each.outside(row),
                    }
                    for row in each.rows
                ],
            }
            for each in found.suggestions
        ],
        "covered": [{"id": each.environment.id, "name": each.environment.label} for each in found.covered],
    }
