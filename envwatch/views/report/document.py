"""A report as sections of lines, written as Markdown for a chat or as JSON for programs.

In JSON, an instant is ISO 8601 in UTC with milliseconds, a duration is in seconds, a share is from 0 to 1, and null is
unknown. The Markdown is readable without rendering, and ASCII except for names: short lines, bounded lists, no tables,
names in code spans.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model.text import SafeText, clean, composed, enumerated, shortened
from envwatch.model.times import DAY_MS, NOTHING, long_age, moment, offset_text, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, tzinfo

    from envwatch.model.acks import Ack

VERSION: Final = 2
"""The version of the JSON format. New names do not change the version."""
_BULLETS: Final = 12
NAMES: Final = 4


_REPLACED: Final = str.maketrans({"`": "'", "<": "‹", ">": "›", "|": "¦"})
"""Characters that end code spans, Slack's mentions and links, and table cells."""
_MENTION: Final = re.compile(r"(?<![0-9A-Za-z])@")
"""An `@` that may begin a mention, unlike in `user@host`."""
_LINK: Final = re.compile(r"://")

_LONGEST: Final = 40
_LONGEST_TEXT: Final = 160


def code(text: SafeText, width: int = _LONGEST) -> str:
    """Return a name or a value as a code span of at most `width` cells."""
    return _span(_LINK.sub("[:]//", shortened(_plain(text), width, keep="ends")))


def code_text(text: SafeText) -> str:
    """Return a sentence as a code span, shortened at the end."""
    return _span(_LINK.sub("[:]//", shortened(_plain(text), _LONGEST_TEXT)))


def code_note(text: SafeText) -> str:
    """Return a local user's note as a code span; links stay, because a note may name a ticket."""
    return _span(_plain(text))


def acknowledged_by(ack: Ack) -> str:
    """Return who acknowledged, and the note; only a local note keeps links."""
    if not ack.by:
        return f": {code_note(ack.note)}" if ack.note else ""
    return f" by {code(ack.by)}" + (f": {code_text(ack.note)}" if ack.note else "")


_OWN_REASON: Final = re.compile(r"([a-z ,]+)(?: \([0-9]+ s\))?")


def reason_text(reason: SafeText | None) -> str:
    """Return a loss's reason, with a foreign recording's words in a code span.

    Seconds of silence are left out, so that equal losses have equal texts.
    """
    if reason is None:
        return "reason not known"
    own = _OWN_REASON.fullmatch(reason)
    return own[1] if own else code_text(reason)


def zone_text(when: datetime) -> str:
    """Return a date's offset: `UTC+01`."""
    return f"UTC{offset_text(when).removeprefix('Z')}"


def _plain(text: SafeText) -> SafeText:
    return composed(text.translate(_REPLACED))


def _span(text: str) -> str:
    return f"`{_MENTION.sub('(at)', text).strip() or NOTHING}`"  # shortening may expose a mention


def listed(items: Sequence[str], most: int) -> str:
    """Return one or more items, at most `most` with a count: `a, b and 488 more`."""
    if len(items) > most + 1:  # one more name takes no more space than a count
        return enumerated(items[:most], len(items))
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


class Line(NamedTuple):
    """A fact."""

    subject: str
    """An environment's name in a code span, or a time."""
    predicate: str
    """The rest of the sentence, empty if another line tells the fact. Lines with equal predicates share a sentence."""
    mark: str = ""
    """A remark to count in the heading: `6 (2 acknowledged)`."""


class Section(NamedTuple):
    """Facts of one kind, the most urgent first."""

    name: str
    title: str
    lines: Sequence[Line]
    values: Sequence[Mapping[str, object]]
    """The facts in JSON, one for each line: clean text, but not safe in Markdown."""

    @property
    def told(self) -> list[Line]:
        """The lines with a sentence."""
        return [line for line in self.lines if line.predicate]

    @property
    def heading(self) -> str:
        """The title with the number of lines with a sentence."""
        marks = Counter(line.mark for line in self.told if line.mark)
        of_these = ", ".join(f"{count:,} {mark}" for mark, count in marks.items())
        return f"{self.title}: {len(self.told):,}" + (f" ({of_these})" if of_these else "")


class ProfileReport(NamedTuple):
    """The report on a profile."""

    profile: SafeText
    host: SafeText
    head: Sequence[Line]
    values: Mapping[str, Mapping[str, object] | None]
    """The facts of the head in JSON; None if no answer came."""
    sections: Sequence[Section]


def report_json(reports: Sequence[ProfileReport], **head: str | None) -> bytes:
    """Return a report as JSON in UTF-8; `head` is about all profiles."""
    profiles = [
        {
            "profile": report.profile,
            "host": report.host,
            **report.values,
            **{section.name: section.values for section in report.sections},
        }
        for report in reports
    ]
    document = {"version": VERSION, **head, "profiles": profiles}
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def render_markdown(reports: Sequence[ProfileReport]) -> str:
    """Return a report as Markdown."""
    blocks: list[str] = []
    for report in reports:
        blocks.append(f"# envwatch: {code(report.profile)} on {code(report.host)}")
        blocks += [f"{line.subject} {line.predicate}" for line in report.head]
        told = [section for section in report.sections if section.told]
        for section in told:
            blocks.append("\n- ".join([f"## {section.heading}", *sentences(section.told)]))
        empty = [section.title.lower() for section in report.sections if section not in told]
        if empty and all(report.values.values()):
            blocks.append(f"None: {', '.join(empty)}.")
    return "\n\n".join(blocks) + "\n"


def sentences(lines: Iterable[Line], most: int = _BULLETS) -> list[str]:
    """Return the lines as sentences, `and 8 more` as the last of many."""
    subjects: dict[str, list[str]] = {}
    for line in lines:
        subjects.setdefault(line.predicate, []).append(line.subject)
    found = [f"{listed(names, NAMES)} {predicate}" for predicate, names in subjects.items()]
    if len(found) > most + 1:
        found[most:] = [f"and {sum(map(len, [*subjects.values()][most:])):,} more"]
    return found


def minutes_between(since: float, until: float) -> SafeText:
    """Return the minutes of the clock between two instants in ms: `8m`."""
    minutes = max(until // 60_000 - since // 60_000, 0)
    return long_age(timedelta(minutes=minutes)) if minutes else clean("under 1m")


class ReportClock(NamedTuple):
    """Writes the times of a period in ms of the server's clock."""

    since: float
    until: float
    zone: tzinfo | None = None

    def text(self, at: float) -> str:
        """Return a time, with the date if needed: `02:13`, `Tue 24 Nov 02:13`."""
        if (when := moment(at, self.zone)) is None:
            return "a time outside the calendar"
        is_short = self.until - DAY_MS < at <= self.until <= self.since + DAY_MS
        return self._time(when) if is_short else f"{when:%a %d %b} {self._time(when)}"

    def span(self, since: float, until: float) -> str:
        """Return a time span, or a single time within a minute."""
        begin, end = self.text(since), self.text(until)
        return begin if begin == end else f"{begin} to {end}"

    @property
    def headline(self) -> str:
        """The period with dates and the zone."""
        begin, end = moment(self.since, self.zone), moment(self.until, self.zone)
        if begin is None or end is None:
            return "a time outside the calendar"
        last = self._time(end) if begin.date() == end.date() else f"{end:%a %d %b %Y} {self._time(end)}"
        length = long_age(span(self.until - self.since))
        return f"{begin:%a %d %b %Y} {self._time(begin)} to {last} ({length}), times in {zone_text(end)}"

    def _time(self, when: datetime) -> str:
        end = moment(self.until, self.zone)
        is_shifted = end is not None and when.utcoffset() != end.utcoffset()
        return f"{when:%H:%M} {zone_text(when)}" if is_shifted else f"{when:%H:%M}"
