"""Adding, changing and ordering direct configurations: what admin, REST and command call."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.utils.translation import gettext, gettext_noop

from . import links
from .models import MAX_POSITION, DirectConfig, next_position

_LINE_END = re.compile(r"\r\n|\n|\r")


class DuplicateLink(ValueError):  # noqa: N818  like LinkError, an answer to what was pasted
    """The link is there already."""

    def __init__(self) -> None:
        super().__init__(gettext_noop("This link is there already."))


def refusal(error: links.LinkError | DuplicateLink) -> str:
    """Why a link was not taken, in the reader's language."""
    return gettext(str(error))


class Added(NamedTuple):
    """``errors``: a sentence for each bad line, by its index."""

    configs: list[DirectConfig]
    errors: dict[int, str]


def fill(config: DirectConfig, raw: str, remarks: str = "") -> None:
    """Set the link and all that follows from it; raises LinkError, and DuplicateLink when another one has it.

    Without ``remarks`` the link's own name counts; it goes when its link goes.
    """
    node = links.parse(raw)
    if config.raw and remarks == links.parse(config.raw).remark:
        remarks = ""
    _apply(config, node, remarks)
    if DirectConfig.objects.filter(raw_hash=config.raw_hash).exclude(pk=config.pk).exists():
        raise DuplicateLink


def store(config: DirectConfig, raw: str, remarks: str = "") -> None:
    """``fill`` and save."""
    fill(config, raw, remarks)
    try:
        with transaction.atomic():
            config.save()
    except IntegrityError:  # somebody else has just stored the same
        raise DuplicateLink from None


def add_many(raws: Iterable[str]) -> Added:
    """Add the good links in their order, at the end; name the bad ones."""
    nodes: dict[int, links.Node] = {}
    errors: dict[int, str] = {}
    for index, raw in enumerate(raws):
        try:
            nodes[index] = links.parse(raw)
        except links.LinkError as error:
            errors[index] = refusal(error)
    try:
        added = _insert(nodes)
    except IntegrityError:  # somebody else has just stored one of them; now it is seen
        added = _insert(nodes)
    return Added(added.configs, dict(sorted((errors | added.errors).items())))


def numbered_lines(text: str) -> dict[int, str]:
    """The lines of a pasted list or a file by their number, from 1; blank lines and comments left out."""
    lines = enumerate(_LINE_END.split(text.removeprefix("\ufeff")), 1)
    return {number: line for number, line in lines if line.strip() and not line.lstrip().startswith(("#", "//"))}


def move(config: DirectConfig, *, down: bool) -> None:
    """Swap places with the neighbour; at the edge nothing happens."""
    with transaction.atomic():
        ordered = list(DirectConfig.objects.all())
        place = ordered.index(config)
        other = place + (1 if down else -1)
        if not 0 <= other < len(ordered):
            return
        ordered[place], ordered[other] = ordered[other], ordered[place]
        moved = [(position, each) for position, each in enumerate(ordered, 1) if each.position != position]
        for position, each in moved:
            each.position = position
        DirectConfig.objects.bulk_update([each for _, each in moved], ["position"], batch_size=200)


def _insert(nodes: Mapping[int, links.Node]) -> Added:
    with transaction.atomic():
        hashes = {index: _hash(node.raw) for index, node in nodes.items()}
        known = set(DirectConfig.objects.in_bulk(list(hashes.values()), field_name="raw_hash"))
        configs: list[DirectConfig] = []
        errors: dict[int, str] = {}
        position = next_position()
        for index, node in nodes.items():
            if hashes[index] in known:
                errors[index] = refusal(DuplicateLink())
                continue
            known.add(hashes[index])
            configs.append(DirectConfig(position=min(position + len(configs), MAX_POSITION)))
            _apply(configs[-1], node)
        return Added(DirectConfig.objects.bulk_create(configs), errors)


def _apply(config: DirectConfig, node: links.Node, remarks: str = "") -> None:
    config.raw, config.raw_hash = node.raw, _hash(node.raw)
    config.protocol, config.server, config.port = node.protocol, node.server, node.port
    config.remarks = links.clean_remark(remarks) or node.remark


def _hash(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()
