"""Whole numbers as bytes: seven bits a byte, the lowest first, the high bit set on all but the last (LEB128).

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MORE: Final = 0x80
LARGEST: Final = (1 << 63) - 1
_LAST_SHIFT: Final = 56


def packed_numbers(numbers: Sequence[int]) -> bytes:
    """Return whole numbers from 0 to `LARGEST` as bytes.

    Raises:
        ValueError: for any other number.
    """
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
    """Return the numbers that `packed_numbers` made bytes of.

    Raises:
        ValueError: if the bytes are none of its.
    """
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
    """Return numbers of any sign as numbers from 0 on: 0, -1, 1, -2 as 0, 1, 2, 3."""
    return [number << 1 if number >= 0 else ~(number << 1) for number in numbers]


def unsigned(numbers: Iterable[int]) -> list[int]:
    """Return the numbers that `signed` made others of."""
    return [-(number >> 1) - 1 if number & 1 else number >> 1 for number in numbers]
