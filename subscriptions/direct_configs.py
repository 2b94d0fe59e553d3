"""Adds, changes and orders direct configurations for the admin, REST and the command."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.db import IntegrityError
from django.utils.translation import gettext, gettext_noop

from operations import audit
from operations.audit import Action, By
from operations.databases.transactions import write_transaction

from . import links
from .models import MAX_POSITION, DirectConfig, next_position


class DuplicateLink(ValueError):  # noqa: N818  like LinkError, an answer to what was pasted
    def __init__(self) -> None:
        super().__init__(gettext_noop("This link already exists."))


def refusal(error: links.LinkError | DuplicateLink) -> str:
    """Why a link was refused, in the reader's language."""
    return gettext(str(error))


class Added(NamedTuple):
    """``errors``: a sentence for each bad line, by its index."""

    configs: list[DirectConfig]
    errors: dict[int, str]


def fill(config: DirectConfig, raw: str, remarks: str = "") -> None:
    """Set the link and the fields derived from it; raises LinkError, or DuplicateLink if the link already exists.

    Without ``remarks`` the name in the link is used; it is replaced together with the link.
    """
    node = links.parse(raw)
    if config.raw and remarks == links.parse(config.raw).remark:
        remarks = ""
    _apply(config, node, remarks)
    if DirectConfig.objects.filter(raw_hash=config.raw_hash).exclude(pk=config.pk).exists():
        raise DuplicateLink


def store(config: DirectConfig, raw: str, remarks: str = "") -> None:
    """``fill``, then save."""
    fill(config, raw, remarks)
    try:
        with write_transaction():
            config.save()
    except IntegrityError:  # another process has just stored the same link
        raise DuplicateLink from None


def add_many(raws: Iterable[str], by: By) -> Added:
    """Add the good links in their order, at the end, each noted; name the bad ones."""
    nodes: dict[int, links.Node] = {}
    errors: dict[int, str] = {}
    for index, raw in enumerate(raws):
        try:
            nodes[index] = links.parse(raw)
        except links.LinkError as error:
            errors[index] = refusal(error)
    try:
        added = _insert(nodes, by)
    except IntegrityError:  # another process has just stored one of them; the second try finds it
        added = _insert(nodes, by)
    return Added(added.configs, dict(sorted((errors | added.errors).items())))


@write_transaction
def move(config: DirectConfig, by: By, *, down: bool) -> None:
    """Swap places with the neighbour; at the edge do nothing."""
    ordered = list(DirectConfig.objects.all())
    place = ordered.index(config)
    other = place + (1 if down else -1)
    if not 0 <= other < len(ordered):
        return
    ordered[place], ordered[other] = ordered[other], ordered[place]
    moved = [
        (position, each) for position, each in enumerate(ordered, 1) if each.position != position
    ]
    for position, each in moved:
        each.position = position
    DirectConfig.objects.bulk_update([each for _, each in moved], ["position"], batch_size=200)
    audit.note(Action.CHANGED, config, by, {"position": (config.position, other + 1)})


@write_transaction
def _insert(nodes: Mapping[int, links.Node], by: By) -> Added:
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
    made = DirectConfig.objects.bulk_create(configs)
    audit.note_many(Action.ADDED, [(config, {}) for config in made], by)
    return Added(made, errors)


def _apply(config: DirectConfig, node: links.Node, remarks: str = "") -> None:
    config.raw, config.raw_hash = node.raw, _hash(node.raw)
    config.protocol, config.server, config.port = node.protocol, node.server, node.port
    config.remarks = links.clean_remark(remarks) or node.remark


def _hash(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()
