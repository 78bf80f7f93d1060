"""Acknowledgements through the real `envwatch serve`: they outlive a kill, and of two people the first stays."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from support.serve_program import (
    LISTING,
    TOKEN,
    ServeProgram,
    demo_server,
    serve_program,
    tokens_file,
    upstream,
)
from support.serve_program import UPSTREAM_KEY as KEY
from support.serving import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER = "token-of-ben-0123456789"
ACKS = "/v1/envwatch/acks"


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    tokens_file(tmp_path, f"ann {TOKEN} ack\nben {OTHER} ack\n")
    with demo_server() as demo:
        yield upstream(tmp_path, demo.base_url, KEY)


def lost(program: ServeProgram) -> list[dict[str, Any]]:
    """Return the rows of a request for all environments that are off, the longest lost first."""
    until(lambda: program.ask().status == 200)
    rows = program.ask(f"{LISTING}?limit=1000").json["connections"]
    signs = {
        row["id"]: max(row["lastSeenAt"], row.get("lastHeartbeat") or 0) for row in rows if not row["connectionId"]
    }
    return [{"id": id_, "sign_at": signs[id_]} for id_ in sorted(signs, key=lambda each: signs[each])]


def mark(program: ServeProgram, id_: str) -> Any:
    rows = program.ask(f"{LISTING}?limit=1000").json["connections"]
    return next(row["envwatch"].get("ack") for row in rows if row["id"] == id_)


def test_an_acknowledgement_and_its_end_outlive_a_kill_right_after_the_answer(
    environ: dict[str, str], tmp_path: Path
) -> None:
    path = f"{ACKS}/{uuid4()}"
    with serve_program(environ, tmp_path) as program:
        row = lost(program)[0]
        body = json.dumps({"rows": [row], "note": "disk swap", "for_s": 3_600}).encode()
        answer = program.ask(path, TOKEN, "PUT", body)
        program.process.kill()
        assert [each["result"] for each in answer.json["rows"]] == ["acked"]

    with serve_program(environ, tmp_path) as program:
        until(lambda: program.ask().status == 200)
        found = mark(program, row["id"])
        assert (found["by"], found["note"], found["uuid"]) == ("ann", "disk swap", path.rpartition("/")[2])
        assert found["until"] - found["at"] == 3_600_000
        assert program.ask(path, TOKEN, "PUT", body).json == answer.json
        assert program.ask(path, OTHER, "DELETE").status == 200
        program.process.kill()

    with serve_program(environ, tmp_path) as program:
        until(lambda: program.ask().status == 200)
        assert mark(program, row["id"]) is None
        assert program.ask(path, OTHER, "DELETE").status == 200
        assert program.ask(path, TOKEN, "PUT", body).json == answer.json
        assert mark(program, row["id"]) is None


def test_of_two_people_at_once_one_acknowledges_and_the_other_reads_who(
    environ: dict[str, str], tmp_path: Path
) -> None:
    with serve_program(environ, tmp_path) as program, ThreadPoolExecutor(2) as people:
        for row in lost(program)[:5]:
            body = json.dumps({"rows": [row]}).encode()
            asking = [people.submit(program.ask, f"{ACKS}/{uuid4()}", token, "PUT", body) for token in (TOKEN, OTHER)]
            answers = [each.result().json["rows"][0] for each in asking]
            winner = mark(program, row["id"])["by"]  # the next listing has the mark
            assert sorted(each["result"] for each in answers) == ["acked", "already"]
            assert {each["by"] for each in answers} == {winner}
            assert winner == ("ann" if answers[0]["result"] == "acked" else "ben")
