"""Finds the parts of a configuration that a core refuses, by halving. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def faulty(tags: Sequence[str], complaint: Callable[[Sequence[str]], str]) -> dict[str, str]:
    """The servers or inbounds that the core does not take, each with its words; found by halving.

    `complaint` says what it has against a configuration with these; "" for nothing.
    """
    said = complaint(tags)
    if not said or not tags:
        return {}
    if len(tags) == 1:
        return {tags[0]: said}
    middle = len(tags) // 2
    return {**faulty(tags[:middle], complaint), **faulty(tags[middle:], complaint)}
