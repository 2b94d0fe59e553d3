"""One configuration of sing-box, with groups that name its servers by their tags."""

import json
from collections.abc import Sequence

from subscriptions.formats import Written

from . import documents
from .documents import Json
from .names import Names, NotUnderstood, renamed, takes_servers

_GROUPS = frozenset({"selector", "urltest"})
# Outbounds of other kinds than servers. Files for versions before 1.12 still have the last two.
_OWN_WORDS = _GROUPS | {"direct", "block", "dns"}
_OF_OLD_FILES = frozenset({"block", "dns"})
# What versions before 1.12 do not know, and refuse the whole file for.
_NEW_TYPES = frozenset({"anytls"})
_NEW_OBFS = "gecko"
_NEW_TLS = "certificate_public_key_sha256"


def merged(body: bytes, servers: Sequence[Written]) -> bytes:
    document = documents.read(body)
    if not isinstance(document, dict):
        raise NotUnderstood
    outbounds = documents.objects(document.get("outbounds"))
    endpoints = documents.objects(document.get("endpoints", []))
    own = [item.get("tag", "") for item in outbounds if item.get("type") not in _OWN_WORDS]
    names = Names(item.get("tag", "") for item in [*outbounds, *endpoints])
    usable = [server for server in servers if _is_usable(json.loads(server.text), document)]
    ours = [_tagged(server) for server in renamed(usable, names)]
    for group in _open(outbounds, own):
        group["outbounds"] = [*(group.get("outbounds") or []), *(item["tag"] for item in ours)]
    outbounds += (item for item in ours if not _is_endpoint(item))
    endpoints += (item for item in ours if _is_endpoint(item))
    return documents.write(document)


def _open(outbounds: Sequence[Json], own: Sequence[str]) -> list[Json]:
    groups = [item for item in outbounds if item.get("type") in _GROUPS]
    found = [group for group in groups if takes_servers(group.get("outbounds"), own)]
    if not found:
        raise NotUnderstood
    return found


def _is_usable(server: Json, document: Json) -> bool:
    """Whether the version that the file is written for knows it. WireGuard was an outbound before it was an endpoint."""
    if _is_endpoint(server):
        return "endpoints" in document
    is_old = any(item.get("type") in _OF_OLD_FILES for item in document["outbounds"])
    return not (is_old and _is_new(server))


def _is_new(server: Json) -> bool:
    return (
        server["type"] in _NEW_TYPES
        or (server["type"] == "hysteria2" and server.get("obfs", {}).get("type") == _NEW_OBFS)
        or _NEW_TLS in server.get("tls", {})
    )


def _is_endpoint(server: Json) -> bool:
    return bool(server["type"] == "wireguard")


def _tagged(server: Written) -> Json:
    return {**json.loads(server.text), "tag": server.name}
