"""Acknowledgements, and the protocol between viewers and `envwatch serve` (docs/serve.md).

`PUT [/profiles/NAME]/v1/envwatch/acks/{uuid}` acknowledges; `PATCH` changes the note; `DELETE` ends the
acknowledgement.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.model.environment import whole_if_exact
from envwatch.model.text import EMPTY, SafeText, clean, shortened

if TYPE_CHECKING:
    from pydantic import JsonValue


ACKS_PATH: Final = "/v1/envwatch/acks"
REQUEST_BYTES: Final = 64 << 10
MOST_ROWS: Final = 1_000
ROWS_AT_ONCE: Final = 400
"""Rows that fit into a request of `REQUEST_BYTES`."""
LONGEST_NOTE: Final = 200
LONGEST_NAME: Final = 80
"""Most characters of an id or a name."""
SHORTEST_S: Final = 60.0
LONGEST_S: Final = 31 * 86_400.0
"""Bounds in seconds of an acknowledgement with an end, and of a silence from a shell."""

UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledged problem."""

    at: float
    """Ms since the epoch by the platform's clock; by the local clock while the platform's is unknown."""
    note: SafeText = EMPTY
    sign_at: float | None = None
    """The row's last sign of life in ms by the platform's clock, right despite a wrong local clock."""
    by: SafeText = EMPTY
    """The token's name; empty for this machine's user."""
    until: float | None = None
    """The end, by the clock of `at`; None until the row is back."""
    uuid: SafeText = EMPTY
    """The name in the protocol, equal for a request's rows; empty in older files."""
    address: SafeText = EMPTY
    """A viewer's network address; empty for this machine."""
    ended_by: SafeText = EMPTY
    """The token that ended the acknowledgement at `until`."""

    def is_in_force(self, at: float) -> bool:
        """Whether the acknowledgement has not ended by its time alone at `at`, by the clock of `until`."""
        return self.until is None or self.until > at

    @property
    def text(self) -> SafeText:
        """The user and the note, if any: `by ann: disk swap`."""
        return clean(": ".join(filter(None, (f"by {self.by}" if self.by else "", self.note))))


def new_uuid() -> SafeText:
    """Return a new acknowledgement's name."""
    from uuid import uuid4  # noqa: PLC0415 - not before the first frame

    return clean(str(uuid4()))


def clean_note(typed: str) -> SafeText:
    """Return a typed note, cleaned and shortened."""
    return clean(" ".join(typed.split()), LONGEST_NOTE)


def uuid_in(path: str) -> SafeText | None:
    """Return the lowercase uuid in a path below `ACKS_PATH`; None for any other path."""
    name = path.removeprefix(f"{ACKS_PATH}/").lower()
    return clean(name) if path.startswith(f"{ACKS_PATH}/") and UUID.fullmatch(name) else None


class AckedLoss(NamedTuple):
    """A row to acknowledge; the last sign of life names the loss, and protects a new loss from old requests."""

    id: SafeText
    """The row's key in envwatch; `clean_key` would change some keys again."""
    sign_at: float | None


class AckRequest(NamedTuple):
    """A request to acknowledge rows of a profile."""

    losses: tuple[AckedLoss, ...]
    note: SafeText = EMPTY
    for_s: float | None = None
    """Duration in seconds; None until the rows are back."""

    @property
    def content(self) -> dict[str, Any]:
        """The body: `{"rows": [{"id", "sign_at"}, …], "note", "for_s"}`."""
        return {"rows": [loss._asdict() for loss in self.losses], "note": self.note, "for_s": self.for_s}

    @classmethod
    def from_json(cls, body: JsonValue) -> AckRequest:
        """Return the request in a body; unknown members are ignored.

        Raises:
            ValueError: with the reason.
        """
        members = body if isinstance(body, dict) else {}
        rows, note, for_s = members.get("rows"), members.get("note", ""), members.get("for_s")
        if not isinstance(rows, list) or not 0 < len(rows) <= MOST_ROWS:
            raise ValueError(f"`rows` must be a list of 1 to {MOST_ROWS:,} environments")
        checked = _checked_note(note)
        seconds = None if for_s is None else finite_number(for_s)
        if for_s is not None and (seconds is None or not SHORTEST_S <= seconds <= LONGEST_S):
            raise ValueError(f"`for_s` must be null, or {SHORTEST_S:.0f} to {LONGEST_S:.0f} seconds")
        losses = tuple(map(_loss_in, rows))
        if len({loss.id for loss in losses}) < len(losses):
            raise ValueError("`rows` names an environment twice")
        return cls(losses, checked, seconds)


def note_in(body: JsonValue) -> SafeText:
    """Return the note in the body of a request that changes it; raise `ValueError` with the reason."""
    return _checked_note(body.get("note") if isinstance(body, dict) else None)


def _checked_note(note: JsonValue) -> SafeText:
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        raise ValueError(f"`note` must be a text of at most {LONGEST_NOTE} characters")
    return clean_note(note)


def _loss_in(raw: JsonValue) -> AckedLoss:
    members = raw if isinstance(raw, dict) else {}
    id_, sign_at = members.get("id"), members.get("sign_at")
    if not isinstance(id_, str) or not id_ or (sign_at is not None and finite_number(sign_at) is None):
        raise ValueError("each environment must have an `id`, and a number or null as `sign_at`")
    return AckedLoss(clean(id_), finite_number(sign_at))


class AckResult(StrEnum):
    """The result for a row of a request."""

    ACKED = "acked"
    ALREADY = "already"
    RECOVERED = "recovered"
    OTHER_LOSS = "other_loss"
    """The row was up since the viewer's listing, and is down again."""
    UNKNOWN = "unknown"


class AckedRow(NamedTuple):
    """The answer about a row."""

    id: SafeText
    result: AckResult
    by: SafeText = EMPTY
    at: float | None = None
    still_pages: SafeText = EMPTY
    """The host of an upper server that knows nothing of the acknowledgement; empty if there is none."""


AckAnswer: TypeAlias = Sequence[AckedRow]


def answer_content(rows: AckAnswer) -> dict[str, Any]:
    """Return the body of an answer: `{"rows": [{"id", "result", "by", "at", "still_pages"}, …]}`."""
    found = (row._asdict() | {"at": whole_if_exact(row.at)} for row in rows)
    return {"rows": [{name: value for name, value in each.items() if value not in ("", None)} for each in found]}


def answer_in(body: Mapping[str, JsonValue]) -> AckAnswer:
    """Return the rows in an answer's body, without unfit rows."""
    rows = body.get("rows")
    return tuple(filter(None, map(_row_in, rows if isinstance(rows, list) else ())))


def _row_in(raw: JsonValue) -> AckedRow | None:
    members = raw if isinstance(raw, dict) else {}
    id_, result = members.get("id"), members.get("result")
    if not isinstance(id_, str) or not isinstance(result, str) or result not in set(AckResult):
        return None
    return AckedRow(
        clean(id_),
        AckResult(result),
        text_in(members.get("by"), LONGEST_NAME),
        finite_number(members.get("at")),
        text_in(members.get("still_pages"), LONGEST_NAME),
    )


def text_in(value: JsonValue, longest: int) -> SafeText:
    """Return a JSON text as a line of at most `longest` cells; empty for any other value."""
    return shortened(clean(" ".join(value.split())), longest) if isinstance(value, str) else EMPTY


def finite_number(value: object) -> float | None:
    """Return a JSON value as a finite number, if possible."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
