"""Frames and events as compressed bytes with a checksum, bounded when read.

The bytes are a CRC-32 and the raw deflate of parts. A part is a head (base frame's checksum, lengths of text and
numbers), JSON text, and numbers in LEB128: seven bits a byte, lowest first.

The dictionary is part of the format and must never change; its most frequent text stands last.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from envwatch.history.past import DamagedError, HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_ROW: Final = (
    '"metadata":{"lettaCodeVersion":"0.34.12","nodeVersion":"v22.21.1","gitBranch":"main","workingDirectory":"/home/'
    '/Users/C:\\\\Users\\\\","os":"darwin","os":"win32","os":"linux","supported_commands":["clear","doctor","dream","init",'
    '"compact","reload","context-limit","upgrade-letta-code","toolset"],"self_update":{"supported":false,'
    '"writable":false,"reason":"managed by the sandbox image"},"self_update":{"supported":true,"writable":true,'
    '"install_path":"/usr/local/lib/node_modules/@letta-ai/letta-code",'
    '"manual_command":"npm install -g @letta-ai/letta-code@latest"},"environmentMessageProtocol":"v2-input",'
    '"supportsPairedListenerGenerations":true,"machine":{"architecture":"arm64","cpu":"Apple M2",'
    '"machine":{"architecture":"x64","cpu":"AMD Ryzen 9 7950X","memoryBytes":34359738368,"osName":"macOS",'
    '"osName":"Ubuntu","osVersion":"24.04.3 LTS"}}'
)
_EVENT: Final = (
    '{"kind":"together","of":"gone","kind":"appeared","reason":"twin of , same device","kind":"while blind",'
    '"kind":"version","before":"0.34.","after":"0.34.","kind":"branch","before":"feat/","kind":"changed",'
    '"field":"working_directory","kind":"returned","kind":"flapping","kind":"steady","kind":"mode","before":"standard",'
    '"after":"acceptEdits","after":"unrestricted","kind":"restarted","before":"conn-","kind":"reconnected",'
    '"before":"conn-","after":"conn-","lasted":1800000000,"since":17,"incident":"","kind":"offline",'
    '"before":"online","after":"offline","reason":"heartbeat lost (120 s)","lasted":,"kind":"online",'
    '"at":17,"id":"env-","name":"sandbox-agent-","before":"offline","after":"online","reason":"disconnected",'
    '"then":{"environment":{"id":"env-","name":"sandbox-agent-","device_id":"sandbox-agent-",'
    '"organization_id":"org-","first_seen_at":17,"last_seen_at":17,"connection_id":"conn-","connected_at":17,'
    '"last_heartbeat_at":17,"pod_id":"p-","listener_instance_id":"listen-","listener_instance_id":"server-",'
    '"api_key_owner":"user-","user_id":"user-","mode":"acceptEdits","mode":"standard",'
    + _ROW
    + ',"verdict":{"presence":"late","reason":"a ping was missed","is_up":true},"verdict":{"presence":"offline",'
    '"reason":"disconnected"},"is_flapping":true,"clock_suspect":true,"left_pod_id":"p-"},'
    '"verdict":{"presence":"online","reason":"beating","is_up":true}}}'
)
_FRAME: Final = (
    '"failure":{"cause":"unreachable","cause":"timeout","message":"","started":{"wall":17,"ended":{"wall":17,'
    '"interval":5000000},"failures":1,"hold":{"finding":{"anomaly":"many rows vanished at once","text":"",'
    '"since":,"missing":["env-"],"confirmed_absent":["env-"],"listings":2},"unseen_since":null,'
    '"stall_detector":{"silent_s":0.0,"is_stalled":true,"resumed_at":null},"set_aside":1,"set_aside_ids":["env-"],'
    '"in_doubt":["env-"],"periods":[["blind",17,["gone","no longer listed",false],["offline","no heartbeat",false],'
    '["offline","heartbeat lost",false],["late","a ping was missed",true],["offline","disconnected",false],'
    '["BACK",17,["NEW",17,["JOIN",17,["MODE",17,["VER",17,["CONN",17,["online","beating",true],"conn-,null,true,false,'
    '{"now":{"wall":17,"monotonic":},"fleet":{"listings":,"listed":{"wall":17,"monotonic":},"elapsed_ms":,'
    '"clock":[1,11],"snapshot":{"clock":[],"requests":11,"received":},"last_up":{"wall":17,"monotonic":}},'
    '"order":[[0,1],[-1,1]],"new":[],"nested":[],"acks":[],"beats":[[,1,1,false]],"rows":[[0,5,'
)
ZLIB_DICTIONARY: Final = (_EVENT + _FRAME).encode()


_HEAD: Final = struct.Struct("<III")
_CHECKSUM_BYTES: Final = 4
_LONGEST: Final = 256 * 1024 * 1024
"""Most bytes of all parts: `Limits.max_rows` rows of twice the usual size."""
_MOST_DEFLATED: Final = 100
"""Most inflated bytes for each byte; rows deflate to a tenth, denser content stays uncompressed."""
_ALWAYS_ALLOWED: Final = 1024 * 1024
"""Inflated bytes allowed for any length."""
_RAW_DEFLATE: Final = -15
_MORE: Final = 0x80
LARGEST: Final = (1 << 63) - 1
_LAST_SHIFT: Final = 56
NONSENSE: Final = "damaged: its content makes no sense"


class FramePart(NamedTuple):
    """A plain value, and whole numbers."""

    plain: Any
    """JSON with infinities; when writing, members may be iterators."""
    numbers: Sequence[int] = ()
    base: int = 0
    """The base frame's checksum; 0 without a base."""


def checksum_of(data: bytes) -> int:
    """Return the checksum of packed bytes, which identifies a frame."""
    return int.from_bytes(data[:_CHECKSUM_BYTES], "little")


def packed(parts: Sequence[FramePart], level: int) -> bytes:
    """Return parts as bytes; raise `HistoryError` if they are too large or not JSON."""
    pieces = []
    try:
        for part in parts:
            text, numbers = BytesIO(), packed_numbers(part.numbers)
            text.writelines(_json_of(part.plain))
            pieces += [_HEAD.pack(part.base, text.tell(), len(numbers)), text.getvalue(), numbers]
    except (ValueError, TypeError, RecursionError, struct.error) as error:
        raise HistoryError(f"what is to be recorded cannot be written: {type(error).__name__}") from error
    inflated_bytes = sum(map(len, pieces))
    if inflated_bytes > _LONGEST:
        raise HistoryError(f"what is to be recorded takes more than {_LONGEST:,} bytes")
    body = _deflated(pieces, level)
    if inflated_bytes > _longest(body):
        body = _deflated(pieces, 0)
    return zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little") + body


def unpacked(data: bytes) -> list[FramePart]:
    """Return the parts from `packed`, or raise `DamagedError`; the length bounds memory and time."""
    if len(data) <= _CHECKSUM_BYTES or zlib.crc32(data[_CHECKSUM_BYTES:]) != checksum_of(data):
        raise DamagedError("damaged: the checksum does not fit")
    try:
        inflater = zlib.decompressobj(_RAW_DEFLATE, ZLIB_DICTIONARY)
        longest = _longest(data[_CHECKSUM_BYTES:])
        body = inflater.decompress(data[_CHECKSUM_BYTES:], longest + 1)
        if len(body) > longest or not inflater.eof or inflater.unused_data:
            raise DamagedError("damaged: it is cut, or too large")
        return list(_parts_in(body))
    except (zlib.error, ValueError, RecursionError, struct.error) as error:
        raise DamagedError(NONSENSE) from error


def _json_of(plain: Any) -> Iterator[bytes]:  # noqa: ANN401  any JSON value
    if type(plain) is dict and any(isinstance(value, Iterator) for value in plain.values()):
        yield b"{"
        for place, (name, value) in enumerate(plain.items()):
            yield (b"," if place else b"") + to_json(name) + b":"
            yield from _json_of(value)
        yield b"}"
    elif isinstance(plain, Iterator):
        yield b"["
        for place, item in enumerate(plain):
            yield (b"," if place else b"") + to_json(item, inf_nan_mode="constants")
        yield b"]"
    else:
        # Python's `json` needs ten times the memory.
        yield to_json(plain, inf_nan_mode="constants")


def _deflated(pieces: Iterable[bytes], level: int) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, _RAW_DEFLATE, zdict=ZLIB_DICTIONARY)
    return b"".join([*map(deflater.compress, pieces), deflater.flush()])


def _longest(deflated: bytes) -> int:
    return min(max(_MOST_DEFLATED * len(deflated), _ALWAYS_ALLOWED), _LONGEST)


def _parts_in(body: bytes) -> Iterator[FramePart]:
    at = 0
    while at < len(body):
        base, text_bytes, number_bytes = _HEAD.unpack_from(body, at)
        text_at = at + _HEAD.size
        numbers_at = text_at + text_bytes
        at = numbers_at + number_bytes
        if at > len(body):
            raise ValueError("cut")
        yield FramePart(from_json(body[text_at:numbers_at]), numbers_of(body[numbers_at:at]), base)


def packed_numbers(numbers: Sequence[int]) -> bytes:
    """Return numbers as bytes; raise `ValueError` outside 0 to `LARGEST`."""
    if not numbers:
        return b""
    if min(numbers) < 0 or max(numbers) > LARGEST:
        raise ValueError("no number from 0 to 2**63 - 1")
    if max(numbers) < _MORE:
        return bytes(numbers)
    result = bytearray()
    for number in numbers:
        rest = number
        while rest >= _MORE:
            result.append(rest & 0x7F | _MORE)
            rest >>= 7
        result.append(rest)
    return bytes(result)


def numbers_of(data: bytes) -> list[int]:
    """Return numbers from `packed_numbers`; raise `ValueError` for invalid bytes."""
    if not data or max(data) < _MORE:
        return list(data)
    numbers = []
    number = shift = 0
    for byte in data:
        if byte < _MORE:
            numbers.append(number | byte << shift)
            number = shift = 0
            continue
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > _LAST_SHIFT:
            raise ValueError("a number over 2**63 - 1")
    if shift:
        raise ValueError("the last number is cut")
    return numbers


def signed(numbers: Iterable[int]) -> list[int]:
    """Return signed numbers as unsigned: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return [number << 1 if number >= 0 else ~(number << 1) for number in numbers]


def unsigned(numbers: Iterable[int]) -> list[int]:
    """Reverse `signed`."""
    return [-(number >> 1) - 1 if number & 1 else number >> 1 for number in numbers]
