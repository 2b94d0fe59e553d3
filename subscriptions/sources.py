"""Fetching sources and keeping what they list: what the command, the admin and its button call.

Two who refresh at once don't meet: who claims a source fetches it. A fetch that fails
leaves all as it was; servers go only when a good list no longer names them.
"""

import asyncio
import logging
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from traffic.turns import writers_turn

from . import bodies, fetching, guard, links, probing
from .conf import conf
from .fetching import Asked, Fetched, FetchError, Limits, Network
from .models import Edition, Node, Source

logger = logging.getLogger(__name__)

CONCURRENCY = 4
# Longer than a fetch may take, so that a claim that ends was left behind by somebody who died.
_CLAIM = timedelta(minutes=2)
_FIRST_WAIT = timedelta(minutes=5)
_LONGEST_WAIT = timedelta(days=1)
# How long, and how many, servers are remembered that a source no longer lists.
_REMEMBERED = timedelta(days=30)
_MOST_ABSENT = bodies.MAX_NODES
_BATCH = 500
_USERINFO = re.compile(
    r"(upload|download|total|expire)=(\d{1,19}(?:\.\d{0,20})?(?:e\+?\d{1,2})?)", re.IGNORECASE | re.ASCII
)
_MOST = 2**63 - 1
# Of Unix seconds that is the year 5138; some panels count milliseconds.
_MILLISECONDS = 10**11
# A joiner and the selectors of emoji; all else that is invisible goes.
_JOINER = "\u200d"


class State(StrEnum):
    """How a refresh of one source ended."""

    FETCHED = "fetched"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    # Somebody else is fetching it.
    BUSY = "busy"
    # Deleted, switched off or given another URL meanwhile.
    GONE = "gone"


class Outcome(msgspec.Struct, frozen=True):
    """``error``: a code, when ``state`` is failed."""

    pk: int
    name: str
    state: State
    error: str = ""
    servers: int = 0
    skipped: int = 0
    milliseconds: int = 0


class _Result(msgspec.Struct, frozen=True):
    """What fetching and reading gave. Without ``parsed``: unchanged. With ``error``: nothing else counts."""

    milliseconds: int
    fetched: Fetched | None = None
    parsed: bodies.Parsed | None = None
    error: str = ""
    retry_after: int | None = None


def policy_of(*, allow_private: bool) -> guard.Policy:
    """What the settings allow, and the source itself."""
    allowed = conf.sources_allow
    return guard.Policy(
        http="http" in allowed,
        ports="ports" in allowed,
        credentials="credentials" in allowed,
        addresses="addresses" in allowed,
        private=allow_private or conf.allow_private_sources,
    )


def check_url(url: str, *, allow_private: bool) -> None:
    """Raises guard.Refused when the source may not be fetched from there."""
    guard.check_url(url, policy_of(allow_private=allow_private))


def forget_copy(source: Source) -> None:
    """After a change of where, or how freely, it is fetched: nothing that was learned of the old place holds."""
    source.etag = source.last_modified = source.last_error = ""
    source.failures = 0
    source.next_fetch = source.claimed_until = None


def due(now: datetime) -> list[int]:
    """Sources whose time has come."""
    waiting = Source.objects.filter(enabled=True).filter(Q(next_fetch=None) | Q(next_fetch__lte=now))
    return list(waiting.values_list("pk", flat=True))


def enabled(now: datetime) -> list[int]:
    """All that are switched on, but those that asked to be left alone until later."""
    told_to_wait = Q(last_error__in=("http_429", "http_503"), next_fetch__gt=now)
    return list(Source.objects.filter(enabled=True).exclude(told_to_wait).values_list("pk", flat=True))


def refresh(
    pks: Iterable[int],
    progress: Callable[[Outcome], object] = lambda _: None,
    limits: Limits | None = None,
    network: Network = Network(),  # noqa: B008  frozen
) -> list[Outcome]:
    """Fetch these sources, a few at a time; ``progress`` hears of each as it ends."""
    found: list[Outcome] = async_to_sync(_refresh_all)(
        list(pks), progress, limits or Limits(body=conf.sources_max_mb * 2**20), network
    )
    return found


def refresh_soon(pks: Iterable[int]) -> threading.Thread:
    """The same in a thread of its own: a request does not wait for strangers."""
    thread = threading.Thread(target=_refresh_and_close, args=(list(pks),), name="refresh-sources", daemon=True)
    thread.start()
    return thread


def backoff(failures: int, retry_after: int | None) -> timedelta:
    """How long to leave a source alone after so many failures in a row: 5 minutes, doubled, at most a day."""
    doublings = min(failures - 1, 12)
    wait = min(_FIRST_WAIT * (1 << doublings), _LONGEST_WAIT)
    return max(wait, timedelta(seconds=retry_after or 0))


def parse_userinfo(text: str) -> dict[str, int | None]:
    """The provider's ``Subscription-Userinfo``; what it does not say is None, and 0 for a quota or an end means none."""
    found = {name.lower(): _figure(value) for name, value in _USERINFO.findall(text)}
    expire = found.get("expire") or 0
    return {
        "provider_upload": found.get("upload"),
        "provider_download": found.get("download"),
        "provider_total": found.get("total") or None,
        "provider_expire": (expire // 1000 if expire >= _MILLISECONDS else expire) or None,
    }


def _figure(text: str) -> int:
    """Some count in floats, and write ``1.5E+11``."""
    return min(int(text if text.isdigit() else float(text)), _MOST)


def clean_name(text: str) -> str:
    """A stranger's name for a server, without what is invisible or turns the text around; at most 128 characters."""
    kept = "".join(
        letter for letter in unicodedata.normalize("NFC", text)
        if letter == _JOINER or letter.isspace() or unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )  # fmt: skip
    return " ".join(kept.split())[:128].rstrip()


def _refresh_and_close(pks: list[int]) -> None:
    try:
        refresh(pks)
    except Exception:
        logger.exception("Sources could not be refreshed.")
    finally:
        connection.close()


async def _refresh_all(
    pks: list[int], progress: Callable[[Outcome], object], limits: Limits, network: Network
) -> list[Outcome]:
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(pk: int) -> Outcome:
        async with gate:
            outcome = await _refresh_one(pk, limits, network)
        progress(outcome)
        return outcome

    return list(await asyncio.gather(*map(one, pks)))


async def _refresh_one(pk: int, limits: Limits, network: Network) -> Outcome:
    source = await sync_to_async(_claim)(pk, timezone.now())
    if source is None:
        return await sync_to_async(_busy)(pk)
    try:
        result = await _fetched(source, limits, network)
        return await sync_to_async(_store)(source, result, timezone.now())
    except Exception:  # whatever it is, the other sources go on
        logger.exception("Source %d could not be refreshed.", pk)
        return Outcome(pk, source.name, State.FAILED, error="internal")
    finally:
        await sync_to_async(_give_back)(pk, source.claimed_until)


async def _fetched(source: Source, limits: Limits, network: Network) -> _Result:
    begun = time.monotonic()
    policy = policy_of(allow_private=source.allow_private)
    asked = Asked(source.url, policy, conf.sources_user_agent, source.etag, source.last_modified)
    fetched = parsed = retry_after = None
    error = ""
    try:
        fetched = await fetching.fetch(asked, limits, network)
        if fetched.body is not None:
            parsed = await asyncio.to_thread(bodies.parse, fetched.body, private=policy.private)
    except FetchError as failure:
        error, retry_after = failure.code, failure.retry_after
    except bodies.BodyError as failure:
        error = failure.code
    return _Result(round((time.monotonic() - begun) * 1000), fetched, parsed, error, retry_after)


def _claim(pk: int, now: datetime) -> Source | None:
    """The source, ours until it is given back; None when somebody else has it, or it is gone."""
    free = Source.objects.filter(pk=pk).filter(Q(claimed_until=None) | Q(claimed_until__lt=now))
    if not free.update_quietly(claimed_until=now + _CLAIM):
        return None
    return Source.objects.filter(pk=pk).first()


def _give_back(pk: int, claimed_until: datetime | None) -> None:
    Source.objects.filter(pk=pk, claimed_until=claimed_until).update_quietly(claimed_until=None)


def _busy(pk: int) -> Outcome:
    source = Source.objects.filter(pk=pk).first()
    return Outcome(pk, source.name if source else "", State.BUSY if source else State.GONE)


def _store(claimed: Source, result: _Result, now: datetime) -> Outcome:
    state = State.FAILED if result.error else State.FETCHED if result.parsed else State.UNCHANGED
    with writers_turn(), transaction.atomic():
        Edition.lock()
        source = Source.objects.select_for_update().filter(pk=claimed.pk, url=claimed.url).first()
        if source is None:
            return Outcome(claimed.pk, claimed.name, State.GONE)
        if result.parsed:
            _store_nodes(source, result.parsed.nodes, now)
        elif state is State.UNCHANGED:
            source.nodes.filter(is_present=True).update_quietly(last_seen=now)
        said = _failure(source, result, now) if result.error else _success(source, result, now)
        Source.objects.filter(pk=source.pk).update_quietly(
            last_fetched=now, last_error=result.error, milliseconds=result.milliseconds, **said
        )
    if result.error:
        logger.warning("Source %d (%s) was not refreshed: %s.", source.pk, source.name, result.error)
    skipped = sum(result.parsed.skipped.values()) if result.parsed else 0
    servers = source.nodes.filter(is_present=True).count()
    return Outcome(source.pk, source.name, state, result.error, servers, skipped, result.milliseconds)


def _failure(source: Source, result: _Result, now: datetime) -> dict[str, Any]:
    return {"failures": F("failures") + 1, "next_fetch": now + backoff(source.failures + 1, result.retry_after)}


def _success(source: Source, result: _Result, now: datetime) -> dict[str, Any]:
    assert result.fetched is not None  # noqa: S101  without an error it was
    said: dict[str, Any] = {
        "failures": 0,
        "last_success": now,
        "next_fetch": now + timedelta(minutes=source.interval),
        "etag": result.fetched.etag,
        "last_modified": result.fetched.last_modified,
    }
    if result.fetched.userinfo:
        said |= parse_userinfo(result.fetched.userinfo)
    if result.parsed and result.fetched.body is not None:
        said |= {
            "size": len(result.fetched.body), "parsed": len(result.parsed.nodes), "skipped": result.parsed.skipped,
        }  # fmt: skip
    return said


def _store_nodes(source: Source, nodes: list[links.Node], now: datetime) -> None:
    """Make the source's rows what the list says; rows that it no longer names stay, but go to nobody."""
    rows = [_row(source, node, position, now) for position, node in enumerate(nodes, 1)]
    known = {
        fingerprint: rest
        for fingerprint, *rest in source.nodes.values_list(
            "fingerprint", "raw", "remarks", "position", "is_udp", "is_present"
        )
    }
    changed = [
        row for row in rows
        if known.get(row.fingerprint) != [row.raw, row.remarks, row.position, row.is_udp, True]
    ]  # fmt: skip
    if changed:
        Node.objects.bulk_create(
            changed,
            batch_size=_BATCH,
            update_conflicts=True,
            unique_fields=["source", "fingerprint"],
            update_fields=["raw", "remarks", "position", "is_udp", "is_present", "last_seen"],
        )
    listed = {row.fingerprint for row in rows}
    gone = [fingerprint for fingerprint, rest in known.items() if rest[-1] and fingerprint not in listed]
    for start in range(0, len(gone), _BATCH):
        source.nodes.filter(fingerprint__in=gone[start : start + _BATCH]).update(is_present=False)
    source.nodes.filter(is_present=True).update_quietly(last_seen=now)
    _forget_absent(source, now)


def _row(source: Source, node: links.Node, position: int, now: datetime) -> Node:
    return Node(
        source=source,
        fingerprint=links.fingerprint(node),
        raw=node.raw,
        protocol=node.protocol,
        server=node.server,
        port=node.port,
        is_udp=probing.is_udp(node),
        remarks=clean_name(node.remark),
        position=position,
        first_seen=now,
        last_seen=now,
    )


def _forget_absent(source: Source, now: datetime) -> None:
    """So that a source that invents new servers every hour does not fill the disk."""
    absent = source.nodes.filter(is_present=False)
    too_many = absent.order_by("-last_seen", "-pk").values_list("pk", flat=True)[_MOST_ABSENT:]
    old = [*absent.filter(last_seen__lt=now - _REMEMBERED).values_list("pk", flat=True), *too_many]
    for start in range(0, len(old), _BATCH):
        source.nodes.filter(pk__in=old[start : start + _BATCH]).delete()
