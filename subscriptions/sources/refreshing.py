"""Fetches sources and stores their servers; called by the command and the admin.

Two refreshes at once do not collide, because each source is claimed before it is fetched. A failed
fetch changes nothing; a server is dropped only when a good list no longer names it.
"""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from operations import polling
from operations.databases.transactions import write_transaction
from operations.outbound import fetching, url_policy
from operations.outbound.dial import Network
from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Limits
from operations.outbound.fetching import Asked, Fetched
from operations.outbound.pacing import backoff
from operations.polling import Poller
from subscriptions import links
from subscriptions.conf import conf
from subscriptions.models import Edition, Node, Source
from subscriptions.readers import Found
from traffic.periods import unix_end

from . import accounts, limited_places, name_rules, probing, provider_usage, source_lists
from .name_rules import Rules, clean_name

logger = logging.getLogger(__name__)

_CLAIM = timedelta(minutes=2)
_USERINFO = b"subscription-userinfo"
# How long, and how many, servers are kept after a source stopped listing them.
_REMEMBERED = timedelta(days=30)
_MOST_ABSENT = source_lists.MAX_NODES
_BATCH = 500
# A comma, a blank or "&" separates only before the next name, because "1,024" is one number.
_BETWEEN = re.compile(r";|[,&\s]\s*(?=[\w-]+\s*=)", re.ASCII)
# Some panels count in floats and write 1.5E+11.
_FIGURE = re.compile(r"\d{1,19}(?:\.\d{0,20})?(?:e\+?\d{1,2})?", re.IGNORECASE | re.ASCII)
_MOST = 2**63 - 1


class State(StrEnum):
    """How a refresh of one source ended."""

    FETCHED = "fetched"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    # Another process is fetching it, or has fetched it since it was found due.
    BUSY = "busy"
    # Deleted, disabled, or given another URL or other rules meanwhile.
    GONE = "gone"


class Outcome(msgspec.Struct, frozen=True):
    """``error``: a code if ``state`` is failed."""

    pk: int
    name: str
    state: State
    error: str = ""
    servers: int = 0
    skipped: int = 0
    milliseconds: int = 0


class _Result(msgspec.Struct, frozen=True):
    """The result of fetching and parsing. Without ``parsed`` the list is unchanged; with ``error`` ignore the rest."""

    milliseconds: int
    fetched: Fetched | None = None
    parsed: source_lists.Parsed | None = None
    error: str = ""
    retry_after: int | None = None

    @property
    def userinfo(self) -> str:
        """The header wins over a comment in the body, because a proxy may have cached the body."""
        in_header = self.fetched.header if self.fetched else ""
        return in_header or (self.parsed.userinfo if self.parsed else "")


def policy_of(*, allow_private: bool) -> url_policy.Policy:
    """What the settings and the source itself allow."""
    allowed = conf.sources_allow
    return url_policy.Policy(
        http="http" in allowed,
        ports="ports" in allowed,
        credentials="credentials" in allowed,
        addresses="addresses" in allowed,
        private=allow_private or conf.allow_private_sources,
    )


def check_url(url: str, *, allow_private: bool) -> None:
    """Raises url_policy.Refused when the source may not be fetched from there."""
    url_policy.check_url(url, policy_of(allow_private=allow_private))


def forget_copy(source: Source) -> None:
    """Forget everything learned from the old URL, after the URL or the policy changed."""
    source.etag = source.last_modified = source.last_error = ""
    source.failures = 0
    source.next_fetch = source.claimed_until = None


def read_again(source: Source) -> None:
    """Fetch the whole list at the next opportunity, because its rules changed."""
    source.etag = source.last_modified = ""
    source.next_fetch = None


def rules_of(source: Source) -> Rules:
    return Rules(**{name: getattr(source, name) for name in Rules.__struct_fields__})


def due(now: datetime) -> list[int]:
    """Sources whose interval is over."""
    return list(_enabled().filter(_is_due(now)).values_list("pk", flat=True))


def _is_due(now: datetime) -> Q:
    return Q(next_fetch=None) | Q(next_fetch__lte=now)


def enabled(now: datetime) -> list[int]:
    """All enabled sources, except those that asked to be fetched later."""
    told_to_wait = Q(last_error__in=("http_429", "http_503"), next_fetch__gt=now)
    return list(_enabled().exclude(told_to_wait).values_list("pk", flat=True))


def _enabled() -> QuerySet[Source]:
    """Without the accounts of subscribers who were deleted."""
    is_of_somebody = Q(subscriber=None) | Q(subscriber__hidden_at=None)
    return Source.objects.filter(is_of_somebody, enabled=True)


def refresh(
    pks: Iterable[int],
    progress: Callable[[Outcome], object] = lambda _: None,
    limits: Limits | None = None,
    network: Network = Network(),  # noqa: B008  frozen
    *,
    only_due: bool = False,
) -> list[Outcome]:
    """Fetch these sources, a few at a time; ``progress`` is called after each.

    ``only_due``: not those that another process has fetched in the meantime.
    """
    allowed = limits or Limits(body=conf.sources_max_mb * 2**20)
    is_due = _is_due if only_due else polling.always
    return _poller.run(pks, lambda source: _refresh(source, allowed, network), progress, is_due)


def refresh_soon(pks: Iterable[int]) -> threading.Thread:
    """Refresh in a separate thread, so that a request does not wait for other servers."""
    asked = list(pks)
    return polling.in_background(
        lambda: refresh(asked), "refresh-sources", "Sources could not be refreshed."
    )


def parse_userinfo(text: str) -> dict[str, int | None]:
    """Parses the provider's ``Subscription-Userinfo``. Unclear values are None, and so is a quota or expiry of 0.

    The first usable value of each name counts.
    """
    found: dict[str, int] = {}
    for item in _BETWEEN.split(text):
        name, _, value = item.partition("=")
        figure = _figure(value.strip(" \t,\"'"))
        if figure is not None:
            found.setdefault(name.strip(" \t,\"'").lower(), figure)
    return {
        "provider_upload": found.get("upload"),
        "provider_download": found.get("download"),
        "provider_total": found.get("total") or None,
        "provider_expire": unix_end(found.get("expire", 0)),
    }


def _figure(text: str) -> int | None:
    """A whole number that fits a database column, else None."""
    if not _FIGURE.fullmatch(text):
        return None
    figure = int(Decimal(text))
    return figure if figure <= _MOST else None


async def _refresh(source: Source, limits: Limits, network: Network) -> Outcome:
    try:
        result = await _fetched(source, limits, network)
        outcome = await sync_to_async(_store)(source, result, timezone.now())
        if result.userinfo and outcome.state is not State.GONE:
            await sync_to_async(_count)(source.pk, timezone.now())
    except Exception:  # the other sources must still be refreshed
        logger.exception("Source %d could not be refreshed.", source.pk)
        return Outcome(source.pk, source.name, State.FAILED, error="internal")
    else:
        return outcome


async def _fetched(source: Source, limits: Limits, network: Network) -> _Result:
    begun = time.monotonic()
    policy = policy_of(allow_private=source.allow_private)
    asked = Asked(
        source.url,
        policy,
        conf.sources_user_agent,
        source.etag,
        source.last_modified,
        _USERINFO,
    )
    fetched = parsed = retry_after = None
    error = ""
    try:
        fetched = await fetching.fetch(asked, limits, network)
        if fetched.body is not None:
            parsed = await asyncio.to_thread(_read, fetched, policy, rules_of(source))
    except OutboundError as failure:
        error, retry_after = failure.code, failure.retry_after
    except source_lists.BodyError as failure:
        error = failure.code
    return _Result(round((time.monotonic() - begun) * 1000), fetched, parsed, error, retry_after)


def _read(fetched: Fetched, policy: url_policy.Policy, rules: Rules) -> source_lists.Parsed:
    """The servers that the rules take, under their names. Raises source_lists.BodyError."""
    assert fetched.body is not None  # noqa: S101  checked by the caller
    found = source_lists.parse(fetched.body, private=policy.private, charset=fetched.charset)
    return found if rules == Rules() else ruled(found, rules)


def ruled(found: source_lists.Parsed, rules: Rules) -> source_lists.Parsed:
    """Raises source_lists.BodyError if nothing is left, or the rules take too long."""
    try:
        each = name_rules.apply(found.nodes, rules)
    except name_rules.RuleError:
        raise source_lists.BodyError("bad_rule") from None
    except name_rules.TooSlow:
        raise source_lists.BodyError("slow_rules") from None
    left_out = [*found.left_out, *(Found(one.name, one.node, one.code) for one in each if one.code)]
    nodes = [msgspec.structs.replace(one.node, remark=one.name) for one in each if not one.code]
    if not nodes:
        raise source_lists.BodyError("nothing_taken", left_out)
    return msgspec.structs.replace(found, nodes=nodes, left_out=left_out)


def _missed(pk: int) -> Outcome:
    source = Source.objects.filter(pk=pk).first()
    return Outcome(pk, source.name if source else "", State.BUSY if source else State.GONE)


def _store(claimed: Source, result: _Result, now: datetime) -> Outcome:
    state = State.FAILED if result.error else State.FETCHED if result.parsed else State.UNCHANGED
    with write_transaction():
        Edition.lock()
        source = Source.objects.select_for_update().filter(pk=claimed.pk, url=claimed.url).first()
        if source is None or rules_of(source) != rules_of(claimed):
            return Outcome(claimed.pk, claimed.name, State.GONE)
        if result.parsed:
            _store_nodes(source, result.parsed.nodes, now)
            limited_places.follow(source, now)
        elif state is State.UNCHANGED:
            source.nodes.filter(is_present=True).update_quietly(last_seen=now)
        said = _failure(source, result, now) if result.error else _success(source, result, now)
        said |= _figures(source, result, now)
        Source.objects.filter(pk=source.pk).update_quietly(
            last_fetched=now, last_error=result.error, milliseconds=result.milliseconds, **said
        )
    if result.error:
        logger.warning(
            "Source %d (%s) was not refreshed: %s.", source.pk, source.name, result.error
        )
    skipped = sum(result.parsed.skipped.values()) if result.parsed else 0
    servers = source.nodes.filter(is_present=True).count()
    return Outcome(
        source.pk, source.name, state, result.error, servers, skipped, result.milliseconds
    )


def _count(pk: int, now: datetime) -> None:
    source = Source.objects.select_related("subscriber").filter(pk=pk).first()
    if source is not None:
        accounts.count(source, now)


def _failure(source: Source, result: _Result, now: datetime) -> dict[str, Any]:
    return {
        "failures": F("failures") + 1,
        "next_fetch": now + backoff(source.failures + 1, result.retry_after),
    }


def _figures(source: Source, result: _Result, now: datetime) -> dict[str, int | None]:
    """Told with a list of no use too: of an account that is used up often nothing else comes."""
    if not result.userinfo:
        return {}
    figures = parse_userinfo(result.userinfo)
    provider_usage.note(source, figures, now)
    return figures


def _success(source: Source, result: _Result, now: datetime) -> dict[str, Any]:
    assert result.fetched is not None  # noqa: S101  always set when there is no error
    said: dict[str, Any] = {
        "failures": 0,
        "last_success": now,
        "next_fetch": now + timedelta(minutes=source.interval),
        "etag": result.fetched.etag,
        "last_modified": result.fetched.last_modified,
    }
    if result.parsed and result.fetched.body is not None:
        said |= {
            "size": len(result.fetched.body), "parsed": len(result.parsed.nodes), "skipped": result.parsed.skipped,
        }  # fmt: skip
    return said


def _store_nodes(source: Source, nodes: list[links.Node], now: datetime) -> None:
    """Update the source's rows from the list. Rows that it no longer names stay, but no subscriber gets them."""
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
    gone = [
        fingerprint for fingerprint, rest in known.items() if rest[-1] and fingerprint not in listed
    ]
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
    """Delete old absent rows, so that a source with new servers every hour does not fill the disk."""
    absent = source.nodes.filter(is_present=False)
    too_many = absent.order_by("-last_seen", "-pk").values_list("pk", flat=True)[_MOST_ABSENT:]
    old = [*absent.filter(last_seen__lt=now - _REMEMBERED).values_list("pk", flat=True), *too_many]
    for start in range(0, len(old), _BATCH):
        source.nodes.filter(pk__in=old[start : start + _BATCH]).delete()


_poller = Poller(Source.objects.all(), _CLAIM, _missed)
