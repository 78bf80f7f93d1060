"""The ledger: each transition, the bell, an earlier run, and the end of old announcements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.hostile_fleet import WEAPONS
from support.incidents import incident_of

from envwatch.alerts.incident import ring_text
from envwatch.alerts.ledger import Announcement, Ledger, Progress
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.model.clock import MonotonicS
from envwatch.model.text import SafeText, cells, clean, composed

if TYPE_CHECKING:
    from envwatch.alerts.incident import Incident


S = MonotonicS
HOOK, WEEK_S = clean("page"), 7 * 86_400
WHY = clean("no answer")


def incident(name: str) -> Incident:
    return incident_of(Event(kind=Kind.OFFLINE, at=NOW, id=clean(f"env-{name}"), name=clean(name)))


NAS, MAC = incident("nas"), incident("mac")


def played(words: str) -> Ledger:
    """Return the ledger after steps: `d` due, `t` a try begins, `k` taken, `f` failed, `g` given up, `e` the end, `r`
    reminder due, `a` acknowledgement due. `K` is the opening taken late, when another message may be due."""
    ledger = Ledger().after([NAS], (), S(0.0))
    for second, word in enumerate(words, 1):
        at, announcement = S(float(second)), ledger.of(NAS.id, HOOK)
        is_due = announcement is not None and announcement.is_unsent and word != "K"
        sent = announcement.progress if announcement is not None and is_due else Progress.DUE
        match word:
            case "d":
                ledger = ledger.due(NAS.id, HOOK, NO_PROFILE, at)
            case "t":
                ledger = ledger.tried(NAS.id, HOOK)
            case "k" | "K":
                ledger = ledger.told(NAS.id, HOOK, sent, at)
            case "r" | "a":
                progress = Progress.REMINDER_DUE if word == "r" else Progress.ACK_DUE
                ledger = ledger.next_due(NAS.id, HOOK, progress, at)
            case "e":
                ledger = ledger.after((), [NAS], at)
            case _:
                ledger = ledger.failed(NAS.id, HOOK, sent, WHY, at, is_final=word == "g")
    return ledger


TRANSITIONS = {
    "": None,
    "e": None,
    "d": Progress.DUE,
    "dt": Progress.DUE,
    "dtf": Progress.DUE,
    "dtft": Progress.DUE,
    "dtk": Progress.TOLD,
    "dtkk": Progress.TOLD,
    "dtkr": Progress.REMINDER_DUE,
    "dtkrtf": Progress.REMINDER_DUE,
    "dtkrtk": Progress.TOLD,
    "dtkrtg": Progress.TOLD,
    "dtkrte": Progress.END_DUE,
    "dtkrtek": Progress.ENDED,
    "dtkrK": Progress.REMINDER_DUE,
    "dtka": Progress.ACK_DUE,
    "dtkat": Progress.ACK_DUE,
    "dtkatk": Progress.ACKED,
    "dtkatg": Progress.ACKED,
    "dtkatke": Progress.END_DUE,
    "dtkae": Progress.END_DUE,
    "dtkaK": Progress.ACK_DUE,
    "dtkf": Progress.TOLD,
    "dtg": Progress.GIVEN_UP,
    "dtge": Progress.GIVEN_UP,
    "de": Progress.OVER,
    "dtfe": Progress.OVER,
    "dte": Progress.DUE,
    "dtef": Progress.OVER,
    "dteg": Progress.OVER,
    "dtek": Progress.END_DUE,
    "dtfte": Progress.DUE,
    "dtke": Progress.END_DUE,
    "dtketf": Progress.END_DUE,
    "dtketg": Progress.GIVEN_UP,
    "dtketk": Progress.ENDED,
    "dtekt": Progress.END_DUE,
    "dtektk": Progress.ENDED,
    "dttf": Progress.DUE,  # a kill ended the first try
    "dttfe": Progress.DUE,
    "dtteft": Progress.DUE,
    "dttfetk": Progress.END_DUE,
}


@pytest.mark.parametrize(("words", "progress"), TRANSITIONS.items(), ids=lambda words: str(words) or "opened")
def test_a_channel_hears_the_opening_first_and_the_end_only_after_the_opening(
    words: str, progress: Progress | None
) -> None:
    ledger = played(words)
    announcement = ledger.of(NAS.id, HOOK)
    assert (announcement and announcement.progress) == progress
    due = (Progress.DUE, Progress.REMINDER_DUE, Progress.ACK_DUE, Progress.END_DUE)
    is_over, is_sent = "e" in words, progress not in due
    assert (NAS.id in ledger.over) is (is_over and not is_sent)
    opened = () if is_over else (NAS,)
    assert [each.id for each, _ in ledger.unsent(opened, HOOK)] == [NAS.id] * (not is_sent)


def test_an_announcement_counts_its_tries_and_keeps_the_newest_error() -> None:
    assert played("dtftf").of(NAS.id, HOOK) == Announcement(NO_PROFILE, Progress.DUE, S(1.0), 2, 2, WHY)
    assert played("dtft").of(NAS.id, HOOK) == Announcement(NO_PROFILE, Progress.DUE, S(1.0), 2, 1)
    assert played("dtftk").of(NAS.id, HOOK) == Announcement(NO_PROFILE, Progress.TOLD, S(5.0))
    assert played("dtg").of(NAS.id, HOOK) == Announcement(NO_PROFILE, Progress.GIVEN_UP, S(3.0), error=WHY)


def test_no_step_of_another_channel_or_incident_changes_an_announcement() -> None:
    ledger, other = played("dtk"), clean("other")
    for changed in (
        ledger.tried(NAS.id, other),
        ledger.told(MAC.id, HOOK, Progress.DUE, S(9.0)),
        ledger.failed(MAC.id, HOOK, Progress.DUE, WHY, S(9.0)),
        ledger.next_due(MAC.id, HOOK, Progress.ACK_DUE, S(9.0)),
        ledger.after((), (), S(9.0)),
    ):
        assert changed is ledger
    assert ledger.due(NAS.id, other, NO_PROFILE, S(9.0)).of(NAS.id, HOOK) == ledger.of(NAS.id, HOOK)


# The bell


def test_an_incident_rings_at_once_and_only_once() -> None:
    ledger, ringing = Ledger().after([NAS], (), S(100.0)).ringing([NAS], S(100.0))
    assert ringing == (NAS,)
    assert ledger.ringing([NAS], S(1000.0)) == (ledger, ())


@pytest.mark.parametrize(("later", "rings"), [(19.999, False), (20.0, True)])
def test_one_bell_rings_in_ten_seconds_and_later_incidents_wait(later: float, *, rings: bool) -> None:
    ledger, _ = Ledger().after([NAS], (), S(10.0)).ringing([NAS], S(10.0))
    ledger, ringing = ledger.after([MAC], (), S(10.1)).ringing([NAS, MAC], S(10.1))
    assert ringing == ()
    ledger, ringing = ledger.ringing([NAS, MAC], S(later))
    assert ringing == ((MAC,) if rings else ())
    third = incident("web")
    ledger = ledger.after([third], (), S(25.0))
    assert ledger.ringing([NAS, MAC, third], S(25.0))[1] == (() if rings else (MAC, third)), (
        "10 s after the newest bell"
    )


def test_an_incident_over_before_the_bell_never_rings_and_no_bell_rings_for_an_end() -> None:
    ledger, _ = Ledger().after([NAS], (), S(10.0)).ringing([NAS], S(10.0))
    ledger = ledger.after([MAC], (), S(11.0)).after((), [NAS, MAC], S(12.0))
    assert ledger.ringing((), S(30.0))[1] == ()
    assert ledger.over == {}


# Earlier runs


def test_no_bell_rings_for_an_incident_of_an_earlier_run() -> None:
    ledger = Ledger().with_earlier(played("dtk"), [NAS, MAC])
    assert ledger.of(NAS.id, HOOK) == Announcement(NO_PROFILE, Progress.TOLD, S(3.0))
    assert Ledger().with_earlier(Ledger(), [NAS, MAC]).ringing([NAS, MAC], S(50.0))[1] == ()
    assert MAC.id in ledger.announcements, "the id is used"


@pytest.mark.parametrize(("words", "said"), [("dt", "opening, end"), ("dtf", ""), ("d", ""), ("dtk", "end")])
def test_after_a_kill_a_channel_hears_the_end_of_a_possibly_known_incident(words: str, said: str) -> None:
    """A try that ran at the kill may have reached the receiver, so the opening is sent again before the end."""
    ledger = Ledger().with_earlier(played(words), [NAS]).after((), [NAS], S(50.0))
    heard = []
    while unsent := [*ledger.unsent((), HOOK)]:
        ((_, announcement),) = unsent
        heard.append("opening" if announcement.progress is Progress.DUE else "end")
        ledger = ledger.tried(NAS.id, HOOK).told(NAS.id, HOOK, announcement.progress, S(51.0))
    assert ", ".join(heard) == said


def test_a_new_hook_has_no_announcement_of_an_open_incident() -> None:
    ledger = Ledger().with_earlier(played("dtk"), [NAS])
    assert ledger.of(NAS.id, clean("new")) is None
    assert [*ledger.unsent([NAS], clean("new"))] == []


# Old announcements


@pytest.mark.parametrize(("later", "is_kept"), [(WEEK_S - 0.001, True), (WEEK_S, False)])
@pytest.mark.parametrize("words", ["dtketk", "de", "dtge"])
def test_an_announcement_is_kept_for_a_week_after_the_last_channel_is_final(
    words: str, later: float, *, is_kept: bool
) -> None:
    ledger = played(words)
    newest = max(each.at for each in ledger.announcements[NAS.id].values())
    ledger = ledger.after([MAC], (), S(newest + later))
    assert (NAS.id in ledger.announcements) is is_kept


@pytest.mark.parametrize("words", ["d", "dtk", "dtke"])
def test_an_announcement_on_its_way_is_kept_for_ever(words: str) -> None:
    assert NAS.id in played(words).after([MAC], (), S(100.0 * WEEK_S)).announcements


def test_after_the_bell_an_announcement_is_kept_until_the_hook_has_the_end() -> None:
    told, rung = played("dtk").ringing([NAS], S(20.0))
    ended = told.after((), [NAS], S(30.0)).tried(NAS.id, HOOK).told(NAS.id, HOOK, Progress.END_DUE, S(40.0))
    assert rung == (NAS,)
    for ledger, is_kept in ((told, True), (ended, False)):
        assert (NAS.id in ledger.after([MAC], (), S(2 * WEEK_S)).announcements) is is_kept


# Any order of steps


@dataclass
class Receiver:
    """A receiver of one hook, and a ledger that a process keeps, writes and reads again."""

    ledger: Ledger = field(default_factory=Ledger)
    heard: list[tuple[str, SafeText]] = field(default_factory=list)
    opened: dict[SafeText, Incident] = field(default_factory=dict)
    at: float = 0.0

    def step(self, what: str, incident: Incident) -> None:
        self.at += 1.0
        at, id_ = S(self.at), incident.id
        announcement = self.ledger.of(id_, HOOK)
        if what == "open" and id_ not in self.opened and id_ not in self.ledger.announcements:
            self.opened[id_] = incident
            self.ledger = self.ledger.after([incident], (), at).due(id_, HOOK, NO_PROFILE, at)
        elif what == "resolve" and self.opened.pop(id_, None) is not None:
            self.ledger = self.ledger.after((), [incident], at)
        elif what == "kill":
            self.ledger = Ledger().with_earlier(self.ledger, self.opened.values())
        elif announcement is not None and id_ in {each.id for each, _ in self.unsent}:
            self.ledger = self.ledger.tried(id_, HOOK)
            if what in ("take", "take and kill"):
                self.heard.append((announcement.progress.value, id_))
            if what == "take":
                self.ledger = self.ledger.told(id_, HOOK, announcement.progress, at)
            elif what == "fail":
                self.ledger = self.ledger.failed(id_, HOOK, announcement.progress, WHY, at)
            else:
                self.step("kill", incident)

    @property
    def unsent(self) -> list[tuple[Incident, Announcement]]:
        return [*self.ledger.unsent(self.opened.values(), HOOK)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "resolve", "take", "take and kill", "fail", "kill"]), st.sampled_from([NAS, MAC])
        ),
        max_size=40,
    )
)
def test_in_any_order_no_opening_is_lost_and_no_end_comes_alone(steps: list[tuple[str, Incident]]) -> None:
    receiver = Receiver()
    for what, incident in steps:
        receiver.step(what, incident)
    still_open = [*receiver.opened]
    for _ in range(10):
        for incident, _ in receiver.unsent:
            receiver.step("take", incident)
    assert receiver.unsent == []
    for incident in (NAS, MAC):
        words = [word for word, id_ in receiver.heard if id_ == incident.id]
        assert words == sorted(words), "an opening after the end"
        assert words[:1] != ["end due"], "an end alone"
        assert ("due" in words) >= (incident.id in still_open), "an open incident that nobody was told of"
        if "due" in words and incident.id not in still_open:
            assert "end due" in words, "no end"


# The text of a bell


def lost(*names: str, kinds: tuple[Kind, ...] = (Kind.OFFLINE,), **changes: Any) -> Incident:
    losses = tuple(
        Event(
            kind=kinds[min(number, len(kinds) - 1)],
            at=NOW,
            id=composed(f"env-{name}"),
            name=clean(name),
            before=clean("online"),
            **changes,
        )
        for number, name in enumerate(names)
    )
    return incident_of(*losses)


@pytest.mark.parametrize(
    ("incidents", "text"),
    [
        ([lost("mac-mini-2")], "mac-mini-2 went offline"),
        ([lost("mac-mini-2"), lost("b")], "mac-mini-2 and 1 other went offline"),
        ([lost("mac-mini-2", "b", "c")], "mac-mini-2 and 2 others went offline"),
        ([lost("mac-mini-2", kinds=(Kind.GONE,))], "mac-mini-2 is gone"),
        ([lost("mac-mini-2", "b", kinds=(Kind.GONE,))], "mac-mini-2 and 1 other are gone"),
        ([lost("mac-mini-2", reason="never seen")], "mac-mini-2 was never seen"),
        (
            [lost("mac-mini-2", "b", kinds=(Kind.OFFLINE, Kind.GONE))],
            "mac-mini-2 and 1 other went offline, flap or are gone",
        ),
        ([lost("mac-mini-2", kinds=(Kind.FLAPPING,))], "mac-mini-2 flaps"),
        ([lost("mac-mini-2", "b", kinds=(Kind.FLAPPING,))], "mac-mini-2 and 1 other flap"),
        (
            [incident_of(Event(kind=Kind.BLIND, at=NOW, reason=clean("key refused: Unauthorized")))],
            "envwatch is blind: key refused: Unauthorized",
        ),
    ],
)
def test_a_ring_is_one_short_sentence(incidents: list[Incident], text: str) -> None:
    assert ring_text(incidents) == text


@pytest.mark.parametrize(("length", "shown"), [(60, "x" * 60), (61, "x" * 48 + "…" + "x" * 11)])
def test_a_long_name_keeps_both_its_ends(length: int, shown: str) -> None:
    assert ring_text([lost("x" * length)]) == f"{shown} went offline"


def test_an_environment_without_a_name_is_named_by_its_id() -> None:
    assert ring_text([lost("")]) == "env- went offline"


@pytest.mark.parametrize("weapon", WEAPONS)
def test_no_name_makes_a_ring_long_or_unclean(weapon: str) -> None:
    text = ring_text([lost(clean(weapon), "b")])
    assert cells(text) <= 60 + len(" and 1 other went offline")
    assert clean(text) == text


@pytest.mark.parametrize(
    ("progress", "back"),
    [
        (Progress.TOLD, Progress.TOLD),
        (Progress.REMINDER_DUE, Progress.TOLD),
        (Progress.ACKED, Progress.TOLD),
        (Progress.GIVEN_UP, Progress.GIVEN_UP),
        (Progress.DUE, None),
        (Progress.END_DUE, None),
    ],
)
def test_a_hook_taken_out_of_the_file_and_put_back_is_told_no_opening_again(
    progress: Progress, back: Progress | None
) -> None:
    ledger = Ledger({NAS.id: {HOOK: Announcement(NO_PROFILE, progress, S(1.0))}}).only(())
    assert list(ledger.unsent([NAS], HOOK)) == []
    assert list(ledger.after((), [NAS], S(2.0)).unsent((), HOOK)) == []
    found = ledger.only({HOOK}).of(NAS.id, HOOK)
    assert (None if found is None else found.progress) is back
