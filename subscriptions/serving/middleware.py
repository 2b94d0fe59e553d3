"""Records each subscription request after it was answered."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from operations.addresses import client_address, shortened
from subscriptions.conf import conf
from subscriptions.serving.metrics import HITS

from .hits import VISIT, Hit, Visit, writer

logger = logging.getLogger(__name__)


class SubscriptionHitMiddleware:
    """Hands the hit to ``hits``. An error there never affects the subscription."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        if not conf.hits_enabled:
            raise MiddlewareNotUsed
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer(request)
        begun = time.perf_counter()
        response: HttpResponseBase = self.get_response(request)
        _record_hit(request, response, begun)
        return response

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        response: HttpResponseBase = await self.get_response(request)
        _record_hit(request, response, begun)
        return response


def _record_hit(request: HttpRequest, response: HttpResponseBase, begun: float) -> None:
    visit: Visit | None = request.META.get(VISIT)
    if visit is None:
        return
    try:
        HITS.labels(visit.client, response.status_code).inc()
        if visit.subscriber_id is not None:
            writer.put(_hit(request, response, begun, visit, visit.subscriber_id))
    except Exception:
        logger.exception("A subscription hit was not noted.")


def _hit(
    request: HttpRequest, response: HttpResponseBase, begun: float, visit: Visit, subscriber_id: int
) -> Hit:
    return Hit(
        at=timezone.now(),
        subscriber_id=subscriber_id,
        format=visit.format,
        client=visit.client,
        status=response.status_code,
        milliseconds=round((time.perf_counter() - begun) * 1000),
        address=shortened(client_address(request.META, conf.trusted_proxies)),
    )
