"""Viewers' tokens: the file, the owner of a request, and the limit on guessing."""

from __future__ import annotations

import os
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rights import folder_for_anyone, without_rights

from envwatch.model.clock import MonotonicS
from envwatch.serve.listening import ServerError
from envwatch.serve.tokens import (
    FILE_BYTES,
    GUESSES,
    LIMITED_WITHIN_S,
    MOST_TOKENS,
    RateLimit,
    Tokens,
    Viewer,
    add_token,
    find_viewer,
    network_of,
    tokens_in,
)

if TYPE_CHECKING:
    from pathlib import Path

ANN, BEN = "token-of-ann-0123456789", "token-of-ben-0123456789"


def tokens_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


def read(path: Path) -> tuple[Tokens, list[str]]:
    learnt: list[str] = []
    return tokens_in(path, learnt.append), learnt


def test_a_file_has_a_name_a_token_and_a_right_in_each_line_and_comments(tmp_path: Path) -> None:
    """No token stays in memory as text."""
    tokens, learnt = read(tokens_file(tmp_path, f"# viewers\n\nann  {ANN} ack # on call\n\tben {BEN}"))
    for header in (f"Bearer {ANN}", f"bearer  {ANN} "):
        assert find_viewer(header, tokens) == Viewer("ann", may_ack=True)
    assert find_viewer(f"Bearer {BEN}", tokens) == Viewer("ben", may_ack=False)
    assert learnt == [ANN, BEN]
    assert ANN not in repr(tokens)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", ANN, f"Basic {ANN}", f"Bearer{ANN}", f"Bearer {ANN}x", f"Bearer {ANN[:-1]}"]
)
def test_nothing_but_a_whole_token_as_bearer_is_taken(header: str, tmp_path: Path) -> None:
    tokens, _ = read(tokens_file(tmp_path, f"ann {ANN}\n"))
    assert find_viewer(header, tokens) is None


def test_a_token_whose_digest_differs_in_one_byte_is_refused(tmp_path: Path) -> None:
    ((ann, digest),), _ = read(tokens_file(tmp_path, f"ann {ANN}\n"))
    assert find_viewer(f"Bearer {ANN}", ((ann, digest),)) == ann
    for position, byte in enumerate(digest):
        near = digest[:position] + bytes([byte ^ 1]) + digest[position + 1 :]
        assert find_viewer(f"Bearer {ANN}", ((ann, near),)) is None


@given(header=st.text(max_size=60).filter(lambda text: ANN not in text))
def test_any_other_header_is_refused_without_an_error(header: str) -> None:
    assert find_viewer(header, ((Viewer("ann"), b"0" * 32),)) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_file_open_to_others_is_refused_with_the_remedy(mode: int, tmp_path: Path) -> None:
    path = tokens_file(tmp_path, f"ann {ANN}\n", mode)
    with pytest.raises(ServerError, match=r"can be read by others: `chmod 600 .*tokens`"):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ann\n", ":1: must be a name and a token"),
        (f"ann {ANN} ack ack\n", ":1: must be a name and a token"),
        (f"ann {ANN} {BEN}\n", ":1: the third word must be `ack`, the right to acknowledge"),
        (f"ann {ANN} ACK\n", ":1: the third word must be `ack`"),
        (f"\nann {ANN[:15]}\n", ":2: the token must be 16 to 512"),
        (f"ann {'x' * 513}\n", ":1: the token must be 16 to 512"),
        (f"ann {ANN}ä\n", ":1: the token must be 16 to 512"),
        (f"ann/x {ANN}\n", ":1: the name must be"),
        (f"ann {ANN}\nann {BEN}\n", ":2: there is a token of that name already"),
        (f"ann {ANN}\nben {ANN}\n", ":2: another name has the same token"),
        ("# none yet\n", "has none: `envwatch serve --new-token NAME` adds one"),
        ("".join(f"n{i} {ANN}{i}\n" for i in range(MOST_TOKENS + 1)), f"has more than {MOST_TOKENS} tokens"),
        ("#" * (FILE_BYTES + 1), "cannot be read: Larger than 128 KiB"),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_without_the_token(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        read(tokens_file(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ANN[:12] not in str(caught.value)


def test_a_pipe_a_folder_and_a_missing_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, message in (
        (tmp_path / "pipe", "Not a regular file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "missing", "`envwatch serve --new-token NAME` makes one"),
    ):
        with pytest.raises(ServerError, match=message):
            read(path)


def test_a_new_token_is_added_to_a_private_file_and_taken(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokens"
    before = os.umask(0o000)
    try:
        first = add_token(path, "ann")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("# on call\n" + path.read_text().rstrip("\n"))  # as some editors leave the file
    second = add_token(path, "ben", may_ack=True)
    tokens, _ = read(path)
    assert (find_viewer(f"Bearer {first}", tokens), find_viewer(f"Bearer {second}", tokens)) == (
        Viewer("ann"),
        Viewer("ben", may_ack=True),
    )
    assert path.read_text().startswith(f"# on call\nann {first}\n")
    assert len(first) > 40


@pytest.mark.parametrize(
    ("text", "mode", "user"),
    [("ann x\n", 0o600, "ben"), (f"ann {ANN}\n", 0o644, "ben"), (f"ann {ANN}\n", 0o600, "ann")],
)
def test_a_token_is_not_added_to_an_unusable_file(text: str, mode: int, user: str, tmp_path: Path) -> None:
    path = tokens_file(tmp_path, text, mode)
    with pytest.raises(ServerError):
        add_token(path, user)
    assert path.read_text() == text


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_full_disk_leaves_the_tokens_as_before_and_says_what_to_do(room: int, tmp_path: Path) -> None:
    path = tokens_file(tmp_path, f"ann {ANN}")
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
    try:
        with pytest.raises(ServerError) as caught:
            add_token(path, "ben")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    problem = f"no token was added, as {path} cannot be written (File too large)"
    assert str(caught.value) == f"{problem}: make room or correct the rights, and try again"
    token = add_token(path, "ben")
    assert find_viewer(f"Bearer {token}", read(path)[0]) == Viewer("ben")


def test_a_token_is_not_added_in_a_folder_without_rights() -> None:
    with folder_for_anyone() as place:
        (place / "closed").mkdir()
        path = tokens_file(place / "closed", f"ann {ANN}\n")
        with without_rights(path.parent, may_read=False), pytest.raises(ServerError, match="Permission denied"):
            add_token(path, "ben")
        assert path.read_text() == f"ann {ANN}\n"


def test_tokens_added_at_once_are_all_kept_and_a_name_gets_one_token(tmp_path: Path) -> None:
    path = tokens_file(tmp_path, f"ann {ANN}")

    def add(number: int) -> str | None:
        try:
            return add_token(path, f"n{number // 4}")
        except ServerError:
            return None

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            added = [token for token in pool.map(add, range(80)) if token is not None]
    finally:
        sys.setswitchinterval(interval)
    assert read(path)[1] == [ANN, *sorted(added, key=path.read_text().index)]
    assert len(added) == 20


FULL = "".join(f"n{i} {ANN}{i}\n" for i in range(MOST_TOKENS))
LARGE = "#" * (FILE_BYTES - len("\nben ew-\n") - 43) + "#"


@pytest.mark.parametrize("text", [FULL, LARGE])
def test_a_token_is_added_up_to_the_limits_of_the_file(text: str, tmp_path: Path) -> None:
    path = tokens_file(tmp_path, text)
    with pytest.raises(ServerError, match="has no room for another token: remove a line first"):
        add_token(path, "ben")
    assert path.read_text() == text
    path.write_text(text.removeprefix(f"n0 {ANN}0\n").removesuffix("#"))
    assert find_viewer(f"Bearer {add_token(path, 'ben')}", read(path)[0]) == Viewer("ben")


def wait_s(limit: RateLimit, address: str, seconds: float) -> int:
    return limit.count(network_of(address), MonotonicS(seconds))[0]


def test_the_eleventh_wrong_token_of_an_address_in_a_minute_must_wait_for_the_first_to_be_a_minute_old() -> None:
    limit = RateLimit(GUESSES)
    assert [wait_s(limit, "192.0.2.1", i) for i in range(GUESSES)] == [0] * GUESSES
    assert wait_s(limit, "192.0.2.1", 10) == LIMITED_WITHIN_S - 10
    assert wait_s(limit, "192.0.2.1", 59.5) == 1
    assert wait_s(limit, "192.0.2.2", 10) == 0
    assert wait_s(limit, "192.0.2.1", 60) == 0
    assert wait_s(limit, "192.0.2.1", 60.5) == 1


def test_addresses_of_one_customer_share_a_limit() -> None:
    limit = RateLimit(GUESSES)
    assert not any(wait_s(limit, f"2001:db8::{i:x}", 0) for i in range(GUESSES))
    assert wait_s(limit, "2001:db8::ffff", 0) == LIMITED_WITHIN_S
    assert wait_s(limit, "2001:db8:0:1::1", 0) == 0
    assert not any(wait_s(limit, "::ffff:192.0.2.1", 0) for i in range(GUESSES))
    assert wait_s(limit, "192.0.2.1", 0) > 0
    assert wait_s(limit, "::ffff:192.0.2.2", 0) == 0


def test_the_counted_addresses_are_bounded() -> None:
    limit = RateLimit(GUESSES)
    for i in range(10_000):
        wait_s(limit, f"192.0.{i // 256}.{i % 256}", 0)
    assert len(limit._by_name) == 4_096  # noqa: SLF001


def test_a_wait_is_said_once_until_an_address_has_sent_nothing_wrong_for_a_minute() -> None:
    limit = RateLimit(GUESSES)
    news = [limit.count("192.0.2.1", MonotonicS(i))[1] for i in range(200)]
    assert (news.count(True), news.index(True)) == (1, GUESSES)
    assert not any(limit.count("192.0.2.1", MonotonicS(300))[1] for _ in range(GUESSES))
    assert limit.count("192.0.2.1", MonotonicS(300))[1]
