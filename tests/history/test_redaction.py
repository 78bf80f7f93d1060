"""Redaction: identifying texts go, and links between texts stay."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, counts_of, environment, listed, reading
from support.lives import CAST, Life, plain_life
from support.recording import encode_event
from support.values import MARK, field_names, marked

from envwatch.fleet.anomalies import _SHAREABLE
from envwatch.fleet.events import NOT_RUNNING, Event, Kind, flatten
from envwatch.fleet.plausibility import date_fault
from envwatch.fleet.profile_state import ProfileState, missing_id
from envwatch.fleet.tracking import EVENT_KINDS
from envwatch.history.encoding.frames import FrameEncoder
from envwatch.history.encoding.packing import unpacked
from envwatch.history.past import About, Moment
from envwatch.history.redaction import REDACTED, Redaction
from envwatch.model.clock import ServerClock
from envwatch.model.environment import KNOWN_MODES, LABELS
from envwatch.model.text import clean

if TYPE_CHECKING:
    from envwatch.model.environment import Environment


PRIVATE: Final = st.text(st.sampled_from("GHJKQWXYZ ,:/→é雨"), min_size=4, max_size=12).filter(
    lambda text: text == clean(text) and not text.isspace()
)
"""Texts that are neither envwatch's words nor part of a pseudonym."""


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from texts_in(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (*texts_in(key), *texts_in(item))
    elif isinstance(value, Collection):
        for item in value:
            yield from texts_in(item)


@given(st.lists(PRIVATE, min_size=CAST, max_size=CAST, unique=True))
def test_no_text_of_others_is_left(texts: list[str]) -> None:
    life, redaction = Life(texts), Redaction()
    redacted: list[Any] = [redaction.moment(moment) for moment in life.moments]
    redacted += map(redaction.event, life.events)
    left = set(texts_in(redacted))
    assert not {text for text in texts if any(text in each for each in left)}


def test_the_life_has_texts_in_rarely_filled_places() -> None:
    life = plain_life()
    fleet = [moment.profile_state for moment in life.moments]
    assert any(profile_state.failure for profile_state in fleet)
    assert any(profile_state.quarantine and profile_state.quarantine.missing for profile_state in fleet)
    assert any(moment.acks for moment in life.moments)
    tracked = [each for profile_state in fleet for each in profile_state.environments.values()]
    assert any(each.last_known_heartbeat for each in tracked)
    assert any(each.left_pod_id for each in tracked)


def test_links_between_texts_stay() -> None:
    life, redaction = plain_life(), Redaction()
    pairs = [(moment, redaction.moment(moment)) for moment in life.moments]
    for moment, redacted in pairs:
        assert len(redacted.profile_state.environments) == len(moment.profile_state.environments)
        assert [tracked.environment.id for tracked in redacted.profile_state.environments.values()] == [
            *redacted.profile_state.environments
        ]
        assert redacted.acks.keys() <= redacted.profile_state.environments.keys()
        assert counts_of(redacted.profile_state) == counts_of(moment.profile_state)
    last = pairs[-1][1].profile_state
    assert last.environments[missing_id(last.expect[0])].environment.name == last.expect[0]
    for event in flatten(map(redaction.event, life.events)):
        if event.then is not None and event.kind is not Kind.OFFLINE:
            assert event.then.environment.id == event.id
            assert event.then.environment.label == event.name
    (appeared,) = [event for event in flatten(life.events) if "beside" in (event.reason or "")]
    first = next(iter(pairs[0][1].profile_state.environments.values())).environment
    for relation in ("beside", "twin of"):
        event = dataclasses.replace(appeared, reason=clean(str(appeared.reason).replace("beside", relation)))
        assert redaction.event(event).reason == f"{relation} {first.name}, same device"


def test_an_unchanged_value_stays_the_very_same_for_a_small_step() -> None:
    life, redaction = plain_life(), Redaction()
    for before, after in zip(life.moments, life.moments[1:], strict=False):
        old, new = redaction.moment(before), redaction.moment(after)
        assert (old.acks is new.acks) == (before.acks is after.acks)
        for id_, tracked in after.profile_state.environments.items():
            if before.profile_state.environments.get(id_) is tracked:
                name = redaction._machine(id_)  # noqa: SLF001  the id of the same row
                assert old.profile_state.environments[name] is new.profile_state.environments[name]


def test_a_pseudonym_is_a_word_and_the_number_of_the_text_in_the_recording() -> None:
    moment, redaction = plain_life().moments[0], Redaction()
    redacted = redaction.moment(moment).profile_state
    names = {each.environment.name for each in redacted.environments.values()}
    assert all(re.fullmatch("env-[1-9][0-9]?", name or "env-1") for name in names)
    assert len(names) > 1
    about = About(profile=clean("acme"), base_url=clean("https://acme.example"), version=clean("1"))
    redacted_about = Redaction().about(about)
    assert (redacted_about.profile, redacted_about.base_url) == ("profile-1", "https://host-1.invalid")


KEPT: Final[Mapping[str, Sequence[Any]]] = {
    "lettaCodeVersion": ["0.34.12", "v1.2", "0.35.0-rc.1", "1.0-beta2"],
    "nodeVersion": ["v22.1.0"],
    "os": ["linux", "darwin", "win32"],
    "self_update": [{"supported": True, "writable": False}],
    "machine": [{"architecture": "arm64", "memoryBytes": 34_359_738_368, "osName": "macOS", "osVersion": "26.1"}],
}
"""Metadata that a recording must keep, by key."""

REPLACED: Final[Mapping[str, Sequence[Any]]] = {
    "lettaCodeVersion": ["0.34.12-acme", "10.0.17.4", "1.0-rc1+acme", 5],
    "nodeVersion": ["v22.1.0 (acme)"],
    "os": ["acmeos"],
    "self_update": ["acme", {"supported": "acme"}],
    "machine": [{"architecture": ["acme"], "cpu": "acme", "osName": "macOS acme", "osVersion": "1 acme"}, ["acme"]],
    "supported_commands": [["acme"]],
    "acme": [True],
}


def metadata_of(key: str, value: Any) -> dict[str, Any]:
    return Redaction()._metadata({key: value})  # noqa: SLF001  one key at a time


@pytest.mark.parametrize("key", KEPT)
def test_versions_platforms_and_sizes_stay(key: str) -> None:
    assert [metadata_of(key, value) for value in KEPT[key]] == [{key: value} for value in KEPT[key]]


@pytest.mark.parametrize("key", REPLACED)
def test_all_other_metadata_go(key: str) -> None:
    for value in REPLACED[key]:
        assert not any("acme" in text or text == value for text in texts_in(metadata_of(key, value)))


def test_known_modes_stay() -> None:
    modes = sorted(KNOWN_MODES)
    moment = moment_of(*(environment(f"env-{n}", currentMode=mode) for n, mode in enumerate(modes)))
    rows = Redaction().moment(moment).profile_state.environments.values()
    assert [tracked.environment.mode for tracked in rows] == modes


def moment_of(*rows: Environment) -> Moment:
    profile_state, _ = ProfileState().apply(listed(rows))
    return Moment(reading(), profile_state)


def test_the_parts_of_an_id_for_the_screen_stay() -> None:
    """The Desktop app and sandboxes have separate remedies."""
    rows = (
        environment("1", organizationId="local", deviceId="desktop:acme"),
        environment("2", deviceId="sandbox-acme", connectionName=" "),
        environment("3", listenerInstanceId="sandbox:acme"),
        environment("4", deviceId="desktop:acme", listenerInstanceId="desktop-primary:acme"),
        environment("5", listenerInstanceId="desktop-direct-cloud:acme"),
        environment("6", connectionId="local-acme"),
    )
    desktop, sandbox, other, *apps = (
        tracked.environment for tracked in Redaction().moment(moment_of(*rows)).profile_state.environments.values()
    )
    assert desktop.organization_id == "local"
    assert desktop.device_id.startswith("desktop:env-")
    assert sandbox.device_id.startswith("sandbox-env-")
    assert sandbox.label == sandbox.id
    assert other.listener_instance_id is not None
    assert other.listener_instance_id.startswith("sandbox:listener-")
    assert [each.is_sandbox for each in (desktop, sandbox, other)] == [False, True, True]
    assert [each.is_desktop_app for each in (desktop, sandbox, other, *apps)] == [True, False, False, True, True, True]
    assert "acme" not in repr(apps)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Event(kind=Kind.OFFLINE, at=NOW, reason=clean("heartbeat lost (121 s)")), "heartbeat lost (121 s)"),
        (Event(kind=Kind.HELD, at=NOW, reason=clean("9 of 1,012 machines vanished at once")), None),
        (Event(kind=Kind.BLIND, at=NOW, reason=clean("server error")), None),
        (Event(kind=Kind.WHILE_BLIND, at=NOW, reason=NOT_RUNNING), None),
        (Event(kind=Kind.CLOCK_WRONG, at=NOW, reason=date_fault(ServerClock(), 3_600_000.0).text), None),
        (Event(kind=Kind.RELEASED, at=NOW, reason=clean("believed now")), None),
        (Event(kind=Kind.FAILING, at=NOW, reason=clean("timeout: acme.com is slow")), f"timeout: {REDACTED}"),
        (Event(kind=Kind.FAILING, at=NOW, reason=clean("acme: no")), REDACTED),
        (Event(kind=Kind.KEY_REFUSED, at=NOW, reason=clean("acme.com says no")), REDACTED),
        (Event(kind=Kind.OFFLINE, at=NOW, reason=clean("heartbeat lost (121 s) acme")), REDACTED),
    ],
)
def test_reasons_in_our_own_words_stay(event: Event, reason: str | None) -> None:
    assert Redaction().event(event).reason == (reason or event.reason)


def test_shared_values_of_a_group_are_replaced_field_by_field() -> None:
    shared = clean("pod p-7, key owner acme, os linux, version 0.34.1, node v22.1.0, mode standard")
    event = Event(kind=Kind.TOGETHER, of=Kind.OFFLINE, at=NOW, reason=shared)
    reason = Redaction().event(event).reason or ""
    pod, owner, *rest = reason.split(", ")
    assert pod.startswith("pod pod-")
    assert owner.startswith("key owner user-")
    assert rest == ["os linux", "version 0.34.1", "node v22.1.0", "mode standard"]


def test_every_field_of_an_event_has_its_rule() -> None:
    redaction = Redaction()
    named = {LABELS[name] for name in (*EVENT_KINDS, *_SHAREABLE)}
    assert named <= redaction._by_label.keys()  # noqa: SLF001  the table of rules


OWN_WORDS: Final = {f"{MARK}Event.field", f"{MARK}About.version"}
"""Texts that only envwatch chooses: a changed field's name, and envwatch's version."""


def marks_in(value: Any) -> set[str]:
    return {text for text in texts_in(value) if MARK in text}


def test_no_text_of_a_moment_is_left_in_any_field() -> None:
    moment = Redaction().moment(marked(Moment))
    assert marks_in(moment) <= OWN_WORDS
    assert marks_in(unpacked(FrameEncoder().encode(moment).data)) <= OWN_WORDS


@pytest.mark.parametrize("field", [None, "pod", clean(f"{MARK}Event.field")])
@pytest.mark.parametrize("kind", Kind)
def test_no_text_of_an_event_of_any_kind_is_left_in_any_field(kind: Kind, field: str | None) -> None:
    one = dataclasses.replace(marked(Event), kind=kind, field=field)
    event = Redaction().event(dataclasses.replace(one, members=(one,)))
    assert marks_in(event) <= OWN_WORDS
    assert marks_in(unpacked(encode_event(event))) <= OWN_WORDS


def test_no_text_about_a_recording_is_left_in_any_field() -> None:
    assert marks_in(Redaction().about(marked(About))) <= OWN_WORDS


def test_every_marked_text_was_there() -> None:
    marks = marks_in([marked(Moment), marked(Event), marked(About)])
    assert marks > OWN_WORDS
    assert {field.partition(".")[0].removeprefix(MARK) for field in marks} >= {"Environment", "Ack", "EnvironmentState"}


def values_without_text(value: Any, place: str = "") -> Iterator[tuple[str, object]]:
    if names := field_names(type(value)):
        for name in names:
            yield from values_without_text(getattr(value, name), f"{type(value).__name__}.{name}")
    elif isinstance(value, Collection) and not isinstance(value, str):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from values_without_text(item, place)
    elif isinstance(value, Enum) or not isinstance(value, str):
        yield place, value


def test_every_value_without_text_stays() -> None:
    """Except a listing's pages, whose rows are among the tracked environments, and rows that are not recorded."""
    moment, event = marked(Moment), marked(Event)
    kept = [*values_without_text([Redaction().moment(moment), Redaction().event(event)])]
    lost = [(place, value) for place, value in values_without_text([moment, event]) if (place, value) not in kept]
    assert [place for place, _ in lost if not place.startswith(("ListedPage.", "LastRun."))] == []
