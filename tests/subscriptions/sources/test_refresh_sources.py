"""``manage.py refresh_sources``."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from pytest_django import Settings

from operations.outbound.exchange import Limits
from subscriptions.models import Source
from subscriptions.sources import refreshing
from tests.subscriptions.examples import A, B, source, subscriber
from tests.subscriptions.hostile import InternetInThread, answer

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def network(
    internet: InternetInThread, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.XPERT_SOURCES_ALLOW = ["http"]
    real = refreshing.refresh

    def refresh(pks: Any, progress: Any, *, only_due: bool) -> Any:
        limits = Limits(connect=20, gap=20, total=20)
        return real(pks, progress, limits, internet.network, only_due=only_due)

    monkeypatch.setattr(refreshing, "refresh", refresh)
    internet.serve("good.example", answer(f"{A}\n{B}\n{B}".encode()))
    internet.serve("bad.example", answer(b"<html>"), "1.1.1.1")


def run(*options: str) -> str:
    out = StringIO()
    call_command("refresh_sources", *options, stdout=out)
    return out.getvalue()


def good() -> Source:
    return source("good", url="http://good.example/sub?token=very-secret")


def test_it_prints_a_table() -> None:
    it = good()
    head, row = run().splitlines()
    assert head.split() == ["id", "name", "state", "servers", "left", "out", "ms"]
    assert row.split()[:5] == [str(it.pk), "good", "fetched", "2", "1"]


def test_it_says_whose_account_a_source_is() -> None:
    good().delete()
    it = source("good", url="http://good.example/sub", subscriber=subscriber("t", name="Ann"))
    assert run().splitlines()[1].endswith("account of Ann.")
    Source.objects.filter(pk=it.pk).update(subscriber=None)
    assert "account" not in run()


def test_a_failing_source_is_reported_in_words_and_by_the_exit_code() -> None:
    good()
    source("bad", url="http://bad.example/")
    out = StringIO()
    with pytest.raises(CommandError, match="1 of 2 sources failed; they keep the servers they had"):
        call_command("refresh_sources", stdout=out)
    assert "The answer is a web page, not a list" in out.getvalue()
    assert "very-secret" not in out.getvalue()


def test_a_source_that_another_run_fetches_is_not_a_failure() -> None:
    it = good()
    refreshing._poller.claim(it.pk, timezone.now())
    assert "busy" in run()


def test_one_source_is_fetched_by_its_number_even_before_its_time() -> None:
    it = good()
    source("other", url="http://good.example/other")
    Source.objects.update(next_fetch=timezone.now() + timedelta(hours=1), last_error="http_429")
    assert len(run("--source", str(it.pk)).splitlines()) == 2


def test_a_number_that_is_not_there_names_those_that_are() -> None:
    it = good()
    with pytest.raises(
        CommandError, match=rf"There is no source 99999\. Sources: {it.pk} \(good\)\."
    ):
        run("--source", "99999")


def test_a_timer_takes_those_that_are_due() -> None:
    good()
    Source.objects.update(next_fetch=timezone.now() + timedelta(hours=1))
    assert run("--due") == "No source is due.\n"
    assert "fetched" in run()


def test_nothing_to_fetch_is_reported() -> None:
    source("off", enabled=False)
    assert run() == "There is no source to fetch.\n"


def test_a_long_or_hostile_name_keeps_the_table_in_form() -> None:
    Source.objects.create(name="x\n" * 40, url="http://good.example/")
    assert "x?x?" in run()
    assert len(run().splitlines()) == 2
