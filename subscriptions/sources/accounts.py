"""A source that is one person's own account: what its provider says was used is that person's usage."""

import hashlib
import logging
from collections.abc import Collection
from datetime import datetime
from urllib.parse import urlsplit

from django.db import InterfaceError, OperationalError

from operations.databases.transactions import write_transaction
from operations.extension import is_account_read
from operations.hosts import normalised_host
from operations.metering import Meant
from subscriptions.models import Source
from traffic.intake import acceptance
from traffic.intake.acceptance import TrackingOffError
from traffic.ledger.owners import Sending
from traffic.models import Meter, Reporter
from traffic.readings import Message, Row, checked_rows

from . import provider_usage
from .provider_usage import Totals

logger = logging.getLogger(__name__)
_PORT, _PROTOCOL = 443, "subscription"


def count(source: Source, now: datetime) -> None:
    """Count by how much the provider's figures have grown; the first ones, and those of another URL, are a baseline.

    So are those of an account that another part of the panel counts: each account is counted once.
    What is not counted now, because the database is busy, is counted with the next fetch.
    """
    told = provider_usage.told_by(source)
    if source.subscriber is None or told == Totals(None, None):
        return
    try:
        acceptance.book(_message(source, told, now), _sending(source), now)
    except TrackingOffError:
        pass
    except (OperationalError, InterfaceError):
        logger.warning("Usage of source %d is counted with the next fetch.", source.pk)


def endpoint(source: Source) -> tuple[str, int, str]:
    """The server that stands for an account in what its person uses."""
    return _host(source), _PORT, _PROTOCOL


def erase(subscriber: int) -> int:
    """Delete the accounts of a subscriber; the answer is how many there were."""
    with write_transaction():
        return Source.objects.filter(subscriber=subscriber).delete()[0]


def _message(source: Source, told: Totals, now: datetime) -> Message:
    last = _last(source)
    upload, download, run = told.upload, told.download, int(now.timestamp())
    if last is not None:
        before = Totals(last.upload, last.download)
        # A figure that the provider does not tell this time has not changed.
        upload = last.upload if upload is None else upload
        download = last.download if download is None else download
        # What falls was set back to 0: a new run, of which all counts.
        has_fallen = provider_usage.has_fallen(before, Totals(upload, download))
        run = max(run, last.run + 1) if has_fallen else last.run
    is_baseline = last is None or is_account_read(source.url, source.subscriber_id or 0)
    row = Row(
        person=str(source.subscriber_id),
        server=_host(source),
        port=_PORT,
        protocol=_PROTOCOL,
        upload=upload or 0,
        download=download or 0,
    )
    return Message(_meter(source), run, is_baseline, *checked_rows([row], now))


def _sending(source: Source) -> Sending:
    """The person is named by their id: a token may be renewed."""
    subscriber = source.subscriber
    assert subscriber is not None  # noqa: S101  checked by the caller

    def names(asked: Collection[str]) -> dict[str, Meant]:
        return {name: Meant(subscriber.token) for name in asked if name == str(subscriber.pk)}

    return Sending(
        origin=_origin(source),
        kind=Reporter.Kind.ACCOUNT,
        grade=Reporter.Grade.PROVIDER,
        names=names,
    )


def _last(source: Source) -> Meter | None:
    """The totals that were counted last for this person and URL."""
    return Meter.objects.filter(
        subscriber=source.subscriber_id,
        reporter__origin=_origin(source),
        reporter__meter=_meter(source),
        read_at__isnull=False,
    ).first()


def _origin(source: Source) -> str:
    return f"account:{source.pk}"


def _meter(source: Source) -> str:
    """Another person, or another URL, is another account, whose figures have nothing to do with the ones before."""
    text = f"{source.subscriber_id}\n{source.url}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{_host(source)[:50]}-{digest}"


def _host(source: Source) -> str:
    return normalised_host(urlsplit(source.url).hostname or "")
