"""Hits are recorded after the answer, written in the background and deleted by retention; they never delay a request."""

import asyncio
import logging
import os
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import MiddlewareNotUsed
from django.db import DataError, OperationalError, connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, RequestFactory
from django.utils import timezone
from model_bakery import baker
from prometheus_client import REGISTRY
from pytest_django import DjangoAssertNumQueries, Settings

from subscriptions.models import SubscriptionHit
from subscriptions.serving import hits
from subscriptions.serving.hits import Hit, HitWriter, writer
from subscriptions.serving.middleware import SubscriptionHitMiddleware
from tests.subscriptions.examples import DIRECT, SUB, ask, subscriber
from traffic.models import Subscriber
from traffic.people import tidying

HIDDIFY = {"user-agent": "HiddifyNext/4.1.0"}


def hit(milliseconds: int = 2) -> Hit:
    return Hit(timezone.now(), 1, "plain", "curl", 200, milliseconds, "192.0.2.0")


def refusing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(SubscriptionHit.objects, "bulk_create", refuse)


@pytest.mark.django_db
class TestNoting:
    def test_a_hit_has_time_subscriber_format_and_client(self, settings: Settings) -> None:
        settings.XPERT_TRUSTED_PROXIES = 1
        person = subscriber()
        with time_machine.travel(timezone.now(), tick=False):
            ask(headers=HIDDIFY | {"x-forwarded-for": "203.0.113.77"}, format="base64")
            assert writer.flush() == 1
            found = SubscriptionHit.objects.get()
            assert found.at == timezone.now()
        assert found.subscriber == person
        assert (found.format, found.client, found.status) == ("base64", "hiddify", 200)
        assert found.address == "203.0.113.0"
        assert 0 <= found.milliseconds < 5000
        assert str(found).startswith("hiddify at 20")

    @pytest.mark.parametrize("path", [SUB, DIRECT])
    def test_both_lists_are_noted(self, path: str) -> None:
        subscriber()
        ask(path=path)
        assert writer.flush() == 1

    def test_a_304_and_a_400_are_noted_with_their_status(self) -> None:
        subscriber()
        ask(headers={"if-none-match": "*"})
        ask(format="nonsense")
        writer.flush()
        assert list(SubscriptionHit.objects.order_by("id").values_list("status", "format")) == [
            (304, "plain"),
            (400, ""),
        ]

    def test_a_429_of_a_known_subscriber_is_noted(self, settings: Settings) -> None:
        settings.XPERT_RATE_SUBSCRIPTIONS = "1/min"
        subscriber()
        ask()
        ask()
        writer.flush()
        assert set(SubscriptionHit.objects.values_list("status", flat=True)) == {200, 429}

    def test_an_unknown_token_is_not_stored(self) -> None:
        ask("nobody")
        assert writer.flush() == 0

    def test_every_subscription_request_is_counted_by_app_and_status(self) -> None:
        labels = {"client": "hiddify", "status": "404"}
        before = REGISTRY.get_sample_value("xpert_subscription_hits_total", labels) or 0
        ask("nobody", headers=HIDDIFY)
        assert REGISTRY.get_sample_value("xpert_subscription_hits_total", labels) == before + 1

    def test_recording_a_hit_runs_no_query(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        subscriber()
        ask()
        with django_assert_num_queries(4):
            ask()

    def test_a_failing_writer_does_not_break_the_subscription(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(_: Hit) -> None:
            raise RuntimeError("out of everything")

        subscriber()
        monkeypatch.setattr(writer, "put", fail)
        assert ask().status_code == 200
        assert "A subscription hit was not noted." in caplog.text

    def test_a_busy_database_does_not_break_the_subscription(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subscriber()
        refusing(OperationalError("database is locked"), monkeypatch)
        assert ask().status_code == 200
        with pytest.raises(OperationalError):
            writer.flush()
        assert ask().status_code == 200


class TestMiddleware:
    def test_it_leaves_the_stack_when_hits_are_switched_off(self, settings: Settings) -> None:
        settings.XPERT_HITS_ENABLED = False
        with pytest.raises(MiddlewareNotUsed):
            SubscriptionHitMiddleware(lambda request: HttpResponse())

    def test_other_requests_are_not_recorded(self) -> None:
        SubscriptionHitMiddleware(lambda request: HttpResponse())(RequestFactory().get("/"))
        assert not writer._waiting

    def test_a_client_cannot_pretend_a_visit(self) -> None:
        request = RequestFactory().get(
            "/", headers={"subscriptions.visit": "x", "subscriptions-visit": "x"}
        )
        SubscriptionHitMiddleware(lambda request: HttpResponse())(request)
        assert not writer._waiting

    def test_it_works_in_an_asynchronous_stack(self) -> None:
        async def view(request: HttpRequest) -> HttpResponse:
            request.META[hits.VISIT] = hits.Visit("curl", 5, "plain")
            return HttpResponse(status=304)

        async def answer() -> HttpResponse:
            middleware = SubscriptionHitMiddleware(view)
            assert iscoroutinefunction(middleware)
            response: HttpResponse = await middleware(RequestFactory().get("/"))
            return response

        assert asyncio.run(answer()).status_code == 304
        assert (writer._waiting[0].subscriber_id, writer._waiting[0].status) == (5, 304)

    @pytest.mark.django_db(transaction=True)
    def test_the_whole_stack_answers_asynchronously(self) -> None:
        async def answer() -> int:
            response = await AsyncClient().get(SUB, {"user_token": "user123"})
            # The view ran in a thread, which has a connection of its own.
            await sync_to_async(connections.close_all)()
            return response.status_code

        subscriber()
        assert asyncio.run(answer()) == 200
        assert len(writer._waiting) == 1


@pytest.mark.django_db
class TestWriter:
    @pytest.fixture
    def own(self, monkeypatch: pytest.MonkeyPatch) -> HitWriter:
        monkeypatch.setattr(HitWriter, "start", lambda self: None)
        return HitWriter()

    def test_nothing_waiting_writes_nothing(
        self, own: HitWriter, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(0):
            assert own.flush() == 0

    def test_hits_are_written_in_the_order_in_which_they_came(self, own: HitWriter) -> None:
        for number in range(1200):
            own.put(hit(milliseconds=number))
        assert own.flush() == 1200
        assert list(
            SubscriptionHit.objects.order_by("id").values_list("milliseconds", flat=True)
        ) == list(range(1200))

    def test_when_the_database_is_busy_they_wait_in_their_order(
        self, own: HitWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(3):
            own.put(hit(milliseconds=number))
        with monkeypatch.context() as busy:
            refusing(OperationalError("database is locked"), busy)
            with pytest.raises(OperationalError):
                own.flush()
        assert own.flush() == 3
        assert list(
            SubscriptionHit.objects.order_by("id").values_list("milliseconds", flat=True)
        ) == [0, 1, 2]

    def test_hits_that_cannot_be_stored_are_dropped_and_logged(
        self, own: HitWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        own.put(hit())
        with monkeypatch.context() as broken:
            refusing(DataError("value out of range"), broken)
            assert own.flush() == 0
        assert "1 subscription hits could not be stored." in caplog.text
        assert own.flush() == 0

    def test_beyond_the_bound_hits_are_dropped_and_counted(
        self, own: HitWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(hits, "LIMIT", 2)
        for _ in range(5):
            own.put(hit())
        assert own.flush() == 2
        assert "3 subscription hits were dropped" in caplog.text
        caplog.clear()
        own.flush()
        assert caplog.text == ""

    def test_a_busy_database_at_shutdown_is_not_an_error(
        self, own: HitWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(connection, "close", lambda: None)
        refusing(OperationalError("database is locked"), monkeypatch)
        own.put(hit())
        with caplog.at_level(logging.INFO):
            own.stop()
        assert "wait for the database: database is locked" in caplog.text


@pytest.mark.django_db(transaction=True)
class TestThread:
    @pytest.fixture
    def running(self, monkeypatch: pytest.MonkeyPatch) -> HitWriter:
        monkeypatch.setattr(hits, "INTERVAL", 0.01)
        return HitWriter()

    def finish(self, own: HitWriter) -> None:
        own.stop()
        assert own._thread is not None
        own._thread.join(10)
        assert not own._thread.is_alive()

    def test_it_starts_with_the_first_hit_and_writes_by_itself(self, running: HitWriter) -> None:
        assert running._thread is None
        running.put(hit())
        self.until(lambda: SubscriptionHit.objects.count() == 1)
        self.finish(running)

    def test_it_keeps_quiet_while_nothing_waits(
        self, running: HitWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[int] = []
        monkeypatch.setattr(running, "_write", lambda: written.append(1))
        running.start()
        time.sleep(0.1)
        assert written == []
        self.finish(running)

    def test_there_is_one_for_many_hits(self, running: HitWriter) -> None:
        running.put(hit())
        thread = running._thread
        running.put(hit())
        running.start()
        assert running._thread is thread
        self.finish(running)
        assert SubscriptionHit.objects.count() == 2

    def test_stopping_writes_the_remaining_hits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hits, "INTERVAL", 60)
        own = HitWriter()
        own.put(hit())
        self.finish(own)
        assert SubscriptionHit.objects.count() == 1

    def test_a_forked_child_begins_with_an_empty_queue(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(HitWriter, "start", lambda self: None)
        own = HitWriter()
        own.put(hit())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn of forking beside threads
            child = os.fork()
        if child == 0:
            os._exit(len(own._waiting))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(own._waiting) == 1

    def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(1000):
            if reached():
                return
            time.sleep(0.01)
        raise AssertionError("waited for 10 seconds")


@pytest.mark.django_db
class TestRetention:
    def old(self, days: float, quantity: int = 1) -> list[SubscriptionHit]:
        at = timezone.now() - timedelta(days=days)
        return baker.make(
            SubscriptionHit,
            at=at,
            subscriber=baker.make(Subscriber),
            _quantity=quantity,
            _bulk_create=True,
        )

    def test_hits_older_than_the_retention_go_and_others_stay(self, settings: Settings) -> None:
        settings.XPERT_HITS_RETENTION_DAYS = 7
        self.old(7.01)
        kept = self.old(6.99)
        assert hits.drop_old(timezone.now()) == 1
        assert list(SubscriptionHit.objects.all()) == kept

    def test_without_old_hits_one_query_looks_for_them(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        self.old(1)
        with django_assert_num_queries(1):
            assert hits.drop_old(timezone.now()) == 0

    def test_they_go_in_small_steps(
        self, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        monkeypatch.setattr(hits, "_STEP", 10)
        self.old(40, quantity=25)
        kept = self.old(1)
        with django_assert_num_queries(7):
            assert hits.drop_old(timezone.now()) == 25
        assert list(SubscriptionHit.objects.all()) == kept

    def test_a_young_hit_among_old_ones_stays(self) -> None:
        self.old(40)
        kept = self.old(1)
        self.old(40)
        assert hits.drop_old(timezone.now()) == 2
        assert list(SubscriptionHit.objects.all()) == kept

    def test_every_cleanup_drops_old_hits(self) -> None:
        self.old(31)
        assert tidying.tidy(timezone.now()).others["hits"] == 1
