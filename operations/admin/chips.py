"""Filters above a list: the choices of the main ones, and what else is chosen, each removed with one click."""

from collections.abc import Iterator
from typing import Any

import msgspec


class Chip(msgspec.Struct, frozen=True):
    """``query``: of the list that the chip leads to."""

    label: str
    query: str
    is_chosen: bool


def of(cl: Any, offered: tuple[type[Any], ...]) -> list[Chip]:
    """Every choice of the offered filters, and the chosen one of each other filter of this list."""
    return [
        chip for spec in cl.filter_specs for chip in _chips(cl, spec, isinstance(spec, offered))
    ]


def _chips(cl: Any, spec: Any, is_offered: bool) -> Iterator[Chip]:
    cl.add_facets, facets = False, cl.add_facets
    choices = list(spec.choices(cl))
    cl.add_facets = facets
    if is_offered:
        for choice in choices:
            yield Chip(str(choice["display"]), choice["query_string"], bool(choice["selected"]))
        return
    everything = cl.get_query_string(remove=spec.expected_parameters())
    for choice in choices[1:]:
        if choice["selected"]:
            yield Chip(f"{spec.title}: {choice['display']}", everything, is_chosen=True)
