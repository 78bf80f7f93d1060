"""Answers of `envwatch serve` to rows in upstream's form."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hypothesis import strategies as st
from support.builders import NOW, TEXT_MEMBERS, page_bytes, reading, wire_row
from support.hostile_fleet import WEAPONS

from envwatch.fleet.profile_state import ProfileState
from envwatch.model.clock import OffsetBounds
from envwatch.model.listing_api import LISTING_PATH
from envwatch.model.outcome import Listed, ListedPage, Snapshot
from envwatch.model.page import parse_page
from envwatch.model.times import MS
from envwatch.serve.answers import NOTHING_SHARED, Answer, ProfileEndpoint, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome
    from envwatch.model.page import Page
    from envwatch.serve.answers import SharedState

Row = dict[str, Any]

MISSING = object()


class Served:
    def __init__(self, *, skew: float = 0.0) -> None:
        self.endpoint = ProfileEndpoint()
        self.profile_state = ProfileState()
        self.skew = skew
        """Error of this machine's wall clock, ms."""
        self._pages: list[Page] = []

    @property
    def environments(self) -> list[Environment]:
        return [environment for page in self._pages for environment in page.environments]

    def poll(self, rows: Sequence[Row], at: float = NOW, *, shared: SharedState = NOTHING_SHARED, **parts: Any) -> None:
        """Poll at a moment of upstream's clock; `parts` go to the snapshot."""
        known = {environment.id: environment for environment in self.environments}
        self._pages = [parse_page(page_bytes(rows[first : first + 100]), known) for first in range(0, len(rows), 100)]
        started = reading(at, self.skew)
        snapshot = Snapshot.of_pages(
            pages=tuple(ListedPage(page.environments, started.wall, page.received_ids) for page in self._pages),
            clock=(OffsetBounds(-self.skew - 500, -self.skew + 500),),
            rejected=sum(page.rejected for page in self._pages),
            rejected_ids=frozenset(id_ for page in self._pages for id_ in page.rejected_ids),
            **parts,
        )
        self.step(Listed(snapshot, started, started, 5_000 * MS), at, shared)

    def step(self, outcome: Outcome | None, at: float, shared: SharedState = NOTHING_SHARED) -> None:
        if outcome is not None:
            self.profile_state, _ = self.profile_state.apply(outcome)
        self.endpoint.update(self.profile_state, outcome, self.now(at), shared)

    def now(self, at: float) -> Clocks:
        """Return this machine's clocks at a moment of upstream's."""
        return reading(at, self.skew)

    def ask(
        self,
        query: str = "",
        at: float = NOW,
        *,
        path: str = LISTING_PATH,
        method: str = "GET",
        viewer: str = "",
        connection: str = "",
        **headers: str,
    ) -> Answer:
        """Answer a request; in the names of headers, `_` stands for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(path, query, method, headers=sent, connection=connection, viewer=viewer)
        return self.endpoint.answer(request, self.now(at))

    def pages(self, limit: int = 100, at: float = NOW, **params: str) -> Iterator[Page]:
        after: dict[str, str] = {}
        while True:
            answer = self.ask(urlencode({"limit": limit, **params, **after}), at)
            assert answer.status == 200, answer
            page = parse_page(answer.body)
            yield page
            if not page.has_next_page:
                return
            assert page.cursor is not None
            after = {"after": page.cursor}

    def rows(self, limit: int = 100, at: float = NOW, **params: str) -> list[Row]:
        after: dict[str, str] = {}
        rows: list[Row] = []
        while True:
            page = json.loads(self.ask(urlencode({"limit": limit, **params, **after}), at).body)
            rows += page["connections"]
            if not page["hasNextPage"]:
                return rows
            after = {"after": page["connections"][-1]["id"]}


def header(answer: Answer, name: str) -> str | None:
    values = [value for each, value in answer.headers if each.lower() == name.lower()]
    assert len(values) < 2
    return values[0] if values else None


def inflated(answer: Answer) -> bytes:
    return gzip.decompress(answer.body) if header(answer, "Content-Encoding") == "gzip" else answer.body


_TEXTS = st.sampled_from(["", "a", "Zürich", "漢字", "a\u202eb", "b~12345678", *WEAPONS]) | st.text(max_size=8)
_NUMBERS = st.sampled_from([0, 1, 1.0, -0.0, True, 2**70, 1e300, 5e-324, 1e22, 123456789012345680.0]) | st.floats(
    allow_nan=False, allow_infinity=False
)
_JSON = st.recursive(
    st.none() | _NUMBERS | _TEXTS | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_INSTANTS = st.sampled_from([0, 1.5, -5, 1e308, NOW, NOW - 0.25, 2**53 + 2, 1_760_000_000_000]) | st.floats(
    allow_nan=False, allow_infinity=False
)
_AGES = st.sampled_from([0.0, 30_000.0, 119_999.0, 119_999.75, 120_000.0, 120_000.25, -5_000.0, 1e9]) | st.floats(
    -1e6, 1e6, allow_nan=False
)
_DRAWN = frozenset({"connectionName", "deviceId", "organizationId", "userId"})
"""Texts of a row with a separate strategy."""
_MAYBE_TEXT = st.just(MISSING) | st.none() | _TEXTS


@st.composite
def _any_row(draw: st.DrawFn, id_: str) -> Row:
    """Draw a row within the limits, with any content that upstream may send."""
    row: Row = {
        "connectionName": draw(_TEXTS),
        "deviceId": draw(_TEXTS),
        "organizationId": draw(st.sampled_from(["local", "org-1", "", "Local"]) | _TEXTS),
        "firstSeenAt": draw(_INSTANTS),
        "lastSeenAt": draw(_INSTANTS),
        "connectedAt": draw(st.just(MISSING) | st.none() | _INSTANTS),
        "lastHeartbeat": draw(st.just(MISSING) | st.none() | _INSTANTS | _AGES.map(lambda age: NOW - age)),
        "userId": draw(st.just(MISSING) | st.sampled_from(["user-1", "user-2", ""]) | _TEXTS),
        **{name: draw(_MAYBE_TEXT) for name in TEXT_MEMBERS if name not in _DRAWN},
        "metadata": draw(st.just(MISSING) | st.none() | st.dictionaries(_TEXTS, _JSON, max_size=3)),
    }
    unknown: Row = draw(
        st.just({}) | st.dictionaries(st.sampled_from(["id\ufe0f", "currentMode\ufe0f"]) | _TEXTS, _JSON)
    )
    return {**{name: unknown[name] for name in unknown if name not in row}, "id": id_} | {
        name: value for name, value in row.items() if value is not MISSING
    }


_IDS = st.sampled_from(["a", "b", "a\u202eb", "a\u202ec", "a~12345678", "ü", "漢", "\x1b[2J"]) | st.text(
    min_size=1, max_size=6
)


@st.composite
def any_rows(draw: st.DrawFn, largest: int = 12) -> list[Row]:
    """Draw a listing with distinct ids and any content that upstream may send."""
    ids = draw(st.lists(_IDS, unique=True, max_size=largest))
    return [draw(_any_row(id_)) for id_ in ids]


@st.composite
def plain_listing(draw: st.DrawFn, largest: int = 12) -> list[Row]:
    """Draw a listing of usual rows that differ in the parameters' fields."""
    rows = []
    for number in range(draw(st.integers(0, largest))):
        is_connected = draw(st.booleans())
        rows.append(
            wire_row(
                f"env-{number}",
                organizationId=draw(st.sampled_from(["local", "org-1"])),
                userId=draw(st.sampled_from([None, "user-1", "user-2"])),
                connectionId=f"conn-{number}" if is_connected else draw(st.sampled_from([None, ""])),
                lastHeartbeat=draw(st.none() | _AGES.map(lambda age: NOW - age)),
            )
        )
    return rows
