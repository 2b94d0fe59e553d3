"""Protocol Buffers on the wire, as far as counters need it (protobuf.dev, "Encoding")."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def varint(number: int) -> bytes:
    """A non-negative number as base-128 varint."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | LENGTH) + varint(len(value)) + value


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) in order; integers are unsigned. Raises ValueError for a cut message.

    Most numbers have one byte; a gateway decodes thousands of fields per second.
    """
    at, end = 0, len(message)
    while at < end:
        tag = message[at]
        at += 1
        if tag > 0x7F:
            tag, at = _read_varint(message, at - 1)
        if tag & 7 == LENGTH and at < end and message[at] <= 0x7F:
            start = at + 1
            at = start + message[at]
            if at > end:
                raise ValueError("the message ends inside a field")
            yield tag >> 3, message[start:at]
        else:
            value, at = _read_value(message, at, tag & 7)
            yield tag >> 3, value


def as_number(value: int | bytes | None) -> int:
    """The value of a numeric field; 0, the default of the format, if it is missing or not a number."""
    return value if isinstance(value, int) else 0


def _read_value(message: bytes, at: int, wire_type: int) -> tuple[int | bytes, int]:
    if wire_type == VARINT:
        return _read_varint(message, at)
    if wire_type == LENGTH:
        size, at = _read_varint(message, at)
        return _cut(message, at, size), at + size
    if wire_type not in (FIXED64, FIXED32):
        raise ValueError(f"wire type {wire_type} is not supported")
    size = 8 if wire_type == FIXED64 else 4
    return int.from_bytes(_cut(message, at, size), "little"), at + size


def _cut(message: bytes, at: int, size: int) -> bytes:
    if at + size > len(message):
        raise ValueError("the message ends inside a field")
    return message[at : at + size]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    try:
        while (byte := message[at]) > 0x7F and shift < 63:
            number |= (byte & 0x7F) << shift
            shift += 7
            at += 1
    except IndexError:
        raise ValueError("the message ends inside a number") from None
    if byte > 0x7F:
        raise ValueError("a number has more than ten bytes")
    return (number | byte << shift) & 0xFFFF_FFFF_FFFF_FFFF, at + 1
