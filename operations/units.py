"""Units of traffic: 1 GB is 2**30 bytes everywhere."""

import re
from decimal import Decimal

GB = 2**30
_UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": GB, "TB": 2**40, "PB": 2**50}
_SIZE = re.compile(r"(\d{1,19}(?:[.,]\d{1,6})?)\s*([KMGTP]I?B?|B|)", re.IGNORECASE | re.ASCII)


# Russian units, from килобайт to петабайт.
_CYRILLIC = str.maketrans("БКМГТПбкмгтп", "BKMGTPbkmgtp")


def gigabytes(size: int) -> float:
    """Bytes as GB, rounded to 3 decimals. Only for JSON, never for calculations."""
    return round(size / GB, 3)


class UnitMissing(ValueError):  # noqa: N818  an answer to what was asked
    """A size without a unit: ``50`` may mean bytes or GB."""


def parse_size(text: str) -> int:
    """Bytes from text such as ``50GB``, ``1.5 TB``, ``700 mb``, ``50 ГБ``, ``1024 B``; only ``0`` needs no unit.

    Raises UnitMissing for any other number without a unit, ValueError for everything else.
    """
    found = _SIZE.fullmatch(text.strip().translate(_CYRILLIC))
    if not found:
        raise ValueError(f"{text!r} is not a size; write 50GB, 1.5 TB or 700 MB.")
    number, unit = found.groups()
    whole, _, fraction = number.replace(",", ".").partition(".")
    is_nothing = not int(whole + fraction)
    if not unit and not is_nothing:
        raise UnitMissing(f"{number!r} has no unit; write {number}GB, or {number}B for bytes.")
    scale = _UNITS.get(f"{unit[:1].upper()}B", 1)
    size: int = int(whole) * scale + int(fraction or 0) * scale // 10 ** len(fraction)
    if not size and not is_nothing:
        raise ValueError(f"{text!r} is not a size: it is less than a byte.")
    return size


def format_size(size: int) -> str:
    """Bytes for people, in the largest unit that gives at least 1: ``1.50 GB``, ``512 B``."""
    for unit, scale in reversed(_UNITS.items()):
        if size >= scale > 1:
            return f"{size / scale:.2f} {unit}"
    return f"{size} B"


def exact_size(size: int) -> str:
    """A short text that ``parse_size`` reads back as exactly ``size``: ``1.5 TB``, ``1234567890 B``."""
    for unit, scale in reversed(_UNITS.items()):
        for digits in range(3 if size >= scale else 0):
            number = -(
                -size * 10**digits // scale
            )  # rounded up, because ``parse_size`` rounds down
            if number * scale // 10**digits == size:
                return f"{Decimal(number).scaleb(-digits)} {unit}"
    return f"{size} B"
