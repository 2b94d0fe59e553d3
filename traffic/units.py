"""What a GB is: 2**30 bytes, everywhere."""

import re
from decimal import Decimal

GB = 2**30
_UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": GB, "TB": 2**40, "PB": 2**50}
_SIZE = re.compile(r"(\d{1,19}(?:[.,]\d{1,6})?)\s*([KMGTP]?)I?B?", re.IGNORECASE | re.ASCII)


# As Russian keyboards write the units: килобайт to петабайт.
_CYRILLIC = str.maketrans("БКМГТПбкмгтп", "BKMGTPbkmgtp")


def gigabytes(size: int) -> float:
    """Bytes as GB, rounded to 3 decimals: for JSON only, never to calculate on."""
    return round(size / GB, 3)


def parse_size(text: str) -> int:
    """Bytes from what a person writes: ``50GB``, ``1.5 TB``, ``700 mb``, ``50 ГБ``, ``1073741824``; ValueError otherwise."""
    found = _SIZE.fullmatch(text.strip().translate(_CYRILLIC))
    if not found:
        raise ValueError(f"{text!r} is not a size; write 50GB, 1.5 TB or a number of bytes.")
    number, unit = found.groups()
    whole, _, fraction = number.replace(",", ".").partition(".")
    scale = _UNITS[f"{unit.upper()}B"]
    part: int = int(fraction or 0) * scale // 10 ** len(fraction)
    return int(whole) * scale + part


def format_size(size: int) -> str:
    """Bytes for a person, in the largest unit that leaves at least 1: ``1.50 GB``, ``512 B``."""
    for unit, scale in reversed(_UNITS.items()):
        if size >= scale > 1:
            return f"{size / scale:.2f} {unit}"
    return f"{size} B"


def exact_size(size: int) -> str:
    """A short text that ``parse_size`` reads back as exactly ``size``: ``1.5 TB``, ``1234567890 B``."""
    for unit, scale in reversed(_UNITS.items()):
        for digits in range(3 if size >= scale else 0):
            number = -(-size * 10**digits // scale)  # rounded up, as reading rounds down
            if number * scale // 10**digits == size:
                return f"{Decimal(number).scaleb(-digits)} {unit}"
    return f"{size} B"
