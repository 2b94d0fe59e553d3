"""The operator's list and page of subscribers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import Settings

from operations.audit import By
from operations.models import AuditEntry
from tests.traffic.admin_pages import (
    a_subscriber,
    act,
    form_of,
    listed,
    messages_of,
    operator,
    queries,
    text_of,
    url,
)
from tests.traffic.examples import DAY, GB, HOUR, NOW, a_report, balance, rows_stored, stored, sums
from traffic.models import Balance, ServerUsage, Subscriber, Usage
from traffic.people import changes

pytestmark = pytest.mark.django_db

LIST = "/admin/traffic/subscriber/"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def used(subscriber: Subscriber, size: int, **fields: Any) -> None:
    stored(a_report(user_token=subscriber.token, upload=0, download=size, **fields))


# The list


def test_the_list_shows_what_is_used_of_the_limit(client: Client) -> None:
    used(a_subscriber("Ann", data_limit=4 * GB), GB)
    page = client.get(LIST)
    words = text_of(page)
    assert "Ann Ann-… active 1.00 GB of 4.00 GB, 25 % 1.00 GB 2024-02-10 19:20 never" in words
    assert 'max="100" value="25"' in page.content.decode()


def test_the_list_shows_no_token_whole(client: Client) -> None:
    subscriber = a_subscriber(token="a-token-that-nobody-else-may-read")
    page = client.get(LIST).content.decode()
    assert "a-to…" in page
    assert subscriber.token not in page


@pytest.mark.parametrize(
    ("size", "level", "words"),
    [
        (79, "low", "79 %"),
        (80, "high", "80 %"),
        (99, "high", "99 %"),
        (100, "over", "100 %"),
        (250, "over", "250 %"),
    ],
)
def test_the_bar_tells_how_near_the_limit_is(
    size: int, level: str, words: str, client: Client
) -> None:
    used(a_subscriber(data_limit=100), size)
    page = client.get(LIST)
    assert words in text_of(page)
    assert (
        f'<progress aria-hidden="true" class="xp-bar xp-{level}" max="100" value="{min(size, 100)}"></progress>'
        in page.content.decode()
    )


def test_a_nameless_subscriber_is_shown_by_number(client: Client) -> None:
    subscriber = a_subscriber("")
    assert f"#{subscriber.pk}" in text_of(client.get(LIST))


def test_an_empty_list_says_what_to_do_next(client: Client) -> None:
    assert "No subscribers yet. Add one" in text_of(client.get(LIST))


def test_a_search_without_a_match_says_so(client: Client) -> None:
    a_subscriber()
    assert "Nothing matches. Show all" in text_of(client.get(f"{LIST}?q=nobody"))


def test_a_filter_without_a_match_says_so(client: Client) -> None:
    a_subscriber()
    assert "Nothing matches. Show all" in text_of(client.get(f"{LIST}?state=expired"))


@pytest.mark.parametrize(
    ("column", "order"),
    [
        (1, ["Ann", "Bob", "Cid", "Dan"]),
        (4, ["Dan", "Cid", "Ann", "Bob"]),
        (5, ["Dan", "Ann", "Cid", "Bob"]),
        (6, ["Dan", "Bob", "Ann", "Cid"]),
        (7, ["Bob", "Ann", "Cid", "Dan"]),
    ],
)
def test_every_column_sorts_in_the_database(column: int, order: list[str], client: Client) -> None:
    ann = a_subscriber("Ann", expires_at=NOW + 2 * DAY)
    bob = a_subscriber("Bob", expires_at=NOW + DAY)
    cid = a_subscriber("Cid", limit_reset="daily", expires_at=NOW + 3 * DAY)
    a_subscriber("Dan")
    used(ann, 20, moment=int((NOW - HOUR).timestamp()))
    used(bob, 100, moment=int((NOW - 2 * HOUR).timestamp()))
    used(cid, 90, moment=int((NOW - 2 * DAY).timestamp()))
    used(cid, 5)
    assert listed(client.get(f"{LIST}?o={column}")) == order
    assert listed(client.get(f"{LIST}?o=-{column}")) == order[::-1]


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("ann-to", ["Ann"]),
        ("Ann-token-1234", ["Ann"]),
        ("token-1234", []),
        ("bo", ["Bob"]),
        ("иван", ["Иван"]),
        ("ИВАН", ["Иван"]),
        ("cash", ["Bob"]),
        ("bob cash", ["Bob"]),
        ("bob card", []),
        ("(", []),
        ("%", []),
        ("o.", []),
        (".", ["Иван"]),
    ],
)
def test_it_searches_names_notes_and_the_beginning_of_tokens(
    term: str, found: list[str], client: Client
) -> None:
    a_subscriber("Ann", token="ann-token-1234")
    a_subscriber("Bob", note="Pays in Cash")
    a_subscriber("Иван", note="v. 2", token="ivan")
    if term == "Ann-token-1234":
        Subscriber.objects.filter(name="Ann").update(token="Ann-token-1234")
    assert listed(client.get(LIST, {"q": term})) == found


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("active", {"active", "expiring", "silent"}),
        ("disabled", {"disabled"}),
        ("expired", {"expired"}),
        ("limited", {"limited"}),
        ("expiring", {"expiring"}),
        ("silent", {"silent"}),
        ("nonsense", {"active", "disabled", "expired", "limited", "expiring", "silent"}),
    ],
)
def test_it_filters_by_state(state: str, found: set[str], client: Client) -> None:
    a_subscriber("active")
    a_subscriber("disabled", is_active=False)
    a_subscriber("expired", expires_at=NOW)
    used(a_subscriber("limited", data_limit=10), 10)
    a_subscriber("expiring", expires_at=NOW + 7 * DAY)
    a_subscriber("silent")
    Subscriber.objects.filter(name="silent").update(created_at=NOW - 8 * DAY)
    assert set(listed(client.get(f"{LIST}?state={state}"))) == found


def test_it_filters_by_limit_reset(client: Client) -> None:
    a_subscriber("Ann", limit_reset="daily")
    a_subscriber("Bob")
    assert listed(client.get(f"{LIST}?limit_reset__exact=daily")) == ["Ann"]


def test_filters_show_counts_on_demand(client: Client) -> None:
    a_subscriber("Ann", is_active=False)
    used(a_subscriber("Bob", data_limit=10), 10)
    words = text_of(client.get(f"{LIST}?_facets=True"))
    assert "active (0)" in words
    assert "switched off (1)" in words
    assert "over the limit (1)" in words


@pytest.mark.parametrize("page", ["/admin/traffic/subscriber/?shown=deleted", "usage"])
def test_a_deleted_subscriber_is_shown_as_deleted_and_not_as_active(
    client: Client, page: str
) -> None:
    ann = a_subscriber("Ann", hidden_at=NOW)
    address = url("subscriber_usage", ann.pk) if page == "usage" else page
    shown = client.get(address).content.decode()
    assert '<span class="xp-badge xp-disabled">deleted</span>' in shown
    assert "xp-badge xp-active" not in shown


def test_deleted_subscribers_are_not_listed(client: Client) -> None:
    a_subscriber(hidden_at=NOW)
    assert listed(client.get(LIST)) == []


@pytest.mark.parametrize("query", ["", "?o=-4", "?o=-6.5", "?state=limited", "?q=user"])
def test_the_list_costs_the_same_with_any_number_of_rows(query: str, client: Client) -> None:
    def cost() -> list[str]:
        with queries() as found:
            assert client.get(LIST + query).status_code == 200
        return found

    def grow(numbers: range) -> None:
        for number in numbers:
            used(a_subscriber(f"user {number}", data_limit=10), 20)

    client.get(LIST)  # what needs attention is counted once a minute
    grow(range(3))
    few = cost()
    grow(range(3, 40))
    many = cost()
    # A search finds its subscribers first.
    assert len(few) == len(many) <= 9 + ("q=" in query)
    assert not [sql for sql in many if "traffic_usage" in sql or "traffic_serverusage" in sql]


# The form


def new(**fields: str) -> dict[str, str]:
    return {"name": "Ann", "token": "ann-token", "is_active": "on", "limit_reset": "never"} | fields


def test_a_new_subscriber_is_offered_a_random_token(client: Client) -> None:
    first, second = (
        client.get(url("subscriber_add")).context["adminform"].form["token"].value()
        for _ in range(2)
    )
    assert len(first) >= 32
    assert first != second


def test_it_adds_a_subscriber_and_goes_to_its_page(client: Client) -> None:
    fields = new(
        data_limit="1.5 TB",
        limit_reset="monthly",
        expires_at="2024-03-01",
    )
    answer = client.post(url("subscriber_add"), fields)
    subscriber = Subscriber.objects.get()
    assert answer["Location"] == url("subscriber_usage", subscriber.pk)
    assert (subscriber.token, subscriber.data_limit, subscriber.limit_reset) == (
        "ann-token",
        1536 * GB,
        "monthly",
    )
    assert f"{subscriber.expires_at:%Y-%m-%d %H:%M %Z}" == "2024-03-02 00:00 UTC"


def test_it_adds_another_when_asked(client: Client) -> None:
    answer = client.post(url("subscriber_add"), new(_addanother="1"))
    assert answer["Location"] == url("subscriber_add")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data_limit": "much"}, "“much” is not a size."),
        ({"data_limit": "50"}, "Write the unit, for example 50 GB."),
        ({"token": "global"}, "none of the reserved words."),
        ({"token": "with space"}, "1 to 255 characters"),
        ({"token": ""}, "This field is required."),
        ({"token": "taken"}, "Another subscriber has this token"),
        ({"token": "deleted"}, "or a deleted one had it."),
        ({"reset_day": "0"}, "greater than or equal to 1"),
        ({"reset_day": "32"}, "less than or equal to 31"),
    ],
)
def test_it_says_what_is_wrong_with_a_new_subscriber(
    fields: dict[str, str], words: str, client: Client
) -> None:
    a_subscriber("Bob", token="taken")
    a_subscriber("Cid", token="deleted", hidden_at=NOW)
    assert words in text_of(client.post(url("subscriber_add"), new(**fields)))
    assert Subscriber.objects.count() == 2


def test_saving_without_an_edit_changes_nothing(client: Client) -> None:
    subscriber = a_subscriber(data_limit=1234567891, note="x", expires_at=NOW + DAY)
    page = client.get(url("subscriber_change", subscriber.pk))
    shown = page.context["adminform"].form["data_limit"].value()
    assert shown == "1234567891 B"
    client.post(url("subscriber_change", subscriber.pk), form_of(subscriber, data_limit=shown))
    assert Subscriber.objects.filter(pk=subscriber.pk).values().get() == {
        field.attname: getattr(subscriber, field.attname)
        for field in Subscriber._meta.concrete_fields
    }


def test_an_emptied_limit_is_none(client: Client) -> None:
    subscriber = a_subscriber(data_limit=GB)
    client.post(url("subscriber_change", subscriber.pk), form_of(subscriber, data_limit=""))
    subscriber.refresh_from_db()
    assert subscriber.data_limit is None


def test_the_token_may_be_changed_and_the_old_one_stops(client: Client) -> None:
    subscriber = a_subscriber(token="old")
    client.post(url("subscriber_change", subscriber.pk), form_of(subscriber, token="new"))
    assert list(Subscriber.objects.values_list("token", flat=True)) == ["new"]


def test_the_log_of_a_change_holds_no_token(client: Client) -> None:
    subscriber = a_subscriber(token="old-token-123456")
    client.post(
        url("subscriber_change", subscriber.pk), form_of(subscriber, token="new-token-123456")
    )
    entry = AuditEntry.objects.get()
    assert entry.changes == {"token": ["old-…", "new-…"]}
    assert "token-123456" not in str(entry.__dict__)


def test_a_changed_reset_counts_the_period_anew(client: Client) -> None:
    subscriber = a_subscriber()
    used(subscriber, 100, moment=int((NOW - DAY).timestamp()))
    used(subscriber, 5)
    client.post(url("subscriber_change", subscriber.pk), form_of(subscriber, limit_reset="daily"))
    assert balance(subscriber.token).period_download == 5
    client.post(url("subscriber_change", subscriber.pk), form_of(subscriber, limit_reset="never"))
    assert balance(subscriber.token).period_download == 105


def test_a_changed_day_of_the_month_counts_the_period_anew(client: Client) -> None:
    subscriber = a_subscriber(limit_reset="monthly")
    used(subscriber, 100, moment=int((NOW - 2 * DAY).timestamp()))
    used(subscriber, 5)
    client.post(
        url("subscriber_change", subscriber.pk), form_of(subscriber, reset_day=(NOW - DAY).day)
    )
    assert balance(subscriber.token).period_download == 5
    client.post(url("subscriber_change", subscriber.pk), form_of(subscriber, reset_day=""))
    assert Subscriber.objects.get().reset_day == 1
    assert balance(subscriber.token).period_download == 105


def test_a_day_of_the_month_without_a_month_counts_nothing_anew(client: Client) -> None:
    subscriber = a_subscriber(limit_reset="weekly")
    used(subscriber, 100)
    Balance.objects.update(period_download=7)
    client.post(url("subscriber_change", subscriber.pk), form_of(subscriber, reset_day=9))
    assert Subscriber.objects.get().reset_day == 9
    assert balance(subscriber.token).period_download == 7


def test_a_changed_name_does_not_count_the_period_anew(client: Client) -> None:
    subscriber = a_subscriber()
    used(subscriber, 100)
    Balance.objects.update(period_download=7)
    client.post(url("subscriber_change", subscriber.pk), form_of(subscriber, name="Eve"))
    assert balance(subscriber.token).period_download == 7


def test_saving_keeps_what_others_have_written_meanwhile(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriber = a_subscriber()
    save = Subscriber.save

    def late(self: Subscriber, **options: Any) -> None:
        Subscriber.objects.update(reset_at=NOW, note="by somebody else")
        save(self, **options)

    monkeypatch.setattr(Subscriber, "save", late)
    client.post(url("subscriber_change", subscriber.pk), form_of(subscriber, name="Eve"))
    assert Subscriber.objects.values_list("name", "reset_at", "note").get() == (
        "Eve",
        NOW,
        "by somebody else",
    )


def test_the_page_sums_up_the_usage(client: Client) -> None:
    subscriber = a_subscriber(data_limit=4 * GB, limit_reset="monthly")
    stored(a_report(NOW - 20 * DAY, user_token=subscriber.token, download=10 * GB))
    stored(a_report(user_token=subscriber.token, upload=GB, download=GB))
    words = text_of(client.get(url("subscriber_change", subscriber.pk)))
    assert "Used in this period 2.00 GB of 4.00 GB, 50 % ↑ 1.00 GB ↓ 1.00 GB" in words
    assert "Period began (UTC) 2024-02-01 00:00 ends 2024-03-01 00:00" in words
    assert "In all 12.00 GB" in words
    assert "Last used (UTC) 2024-02-10 19:20" in words


@pytest.mark.parametrize(
    ("reset", "words"),
    [
        ("never", "at the first report does not end by itself"),
        ("daily", "2024-02-11 00:00 ends 2024-02-12 00:00"),
        ("weekly", "2024-02-05 00:00 ends 2024-02-12 00:00"),
        ("monthly", "2024-02-01 00:00 ends 2024-03-01 00:00"),
    ],
)
def test_the_page_tells_the_period_in_the_zone_of_the_panel(
    reset: str, words: str, client: Client, settings: Settings
) -> None:
    settings.XPERT_TIME_ZONE = "Asia/Tokyo"  # there the next day has begun
    subscriber = a_subscriber(limit_reset=reset)
    assert f"Period began (Asia/Tokyo) {words}" in text_of(
        client.get(url("subscriber_change", subscriber.pk))
    )


def test_the_page_costs_no_more_with_more_usage(client: Client) -> None:
    subscriber = a_subscriber()
    used(subscriber, 1)
    client.get(url("subscriber_change", subscriber.pk))  # what is looked up once in a process
    with queries() as few:
        client.get(url("subscriber_change", subscriber.pk))
    for hour in range(50):
        used(subscriber, 1, moment=int((NOW - hour * HOUR).timestamp()))
    with queries() as many:
        client.get(url("subscriber_change", subscriber.pk))
    assert len(few) == len(many) <= 9
    assert not [sql for sql in many if "traffic_usage" in sql]


def test_a_deleted_subscriber_cannot_be_changed(client: Client) -> None:
    subscriber = a_subscriber(hidden_at=NOW)
    for name in (
        "change",
        "restart",
        "extend",
        "switch_off",
        "renew_token",
        "correct",
        "undo",
        "delete",
    ):
        answer = client.get(url(f"subscriber_{name}", subscriber.pk))
        assert answer.status_code in {302, 404}


# Actions


def test_it_switches_off_and_on(client: Client) -> None:
    ann, bob, _ = a_subscriber("Ann"), a_subscriber("Bob"), a_subscriber("Cid")
    assert messages_of(act(client, "subscriber", "switch_off", ann, bob, post="yes")) == [
        "2 subscribers are switched off."
    ]
    assert set(Subscriber.objects.filter(is_active=False).values_list("name", flat=True)) == {
        "Ann",
        "Bob",
    }
    assert messages_of(act(client, "subscriber", "switch_on", ann, post="yes")) == [
        "1 subscriber is switched on."
    ]
    assert Subscriber.objects.get(name="Ann").is_active
    assert set(AuditEntry.objects.values_list("target_name", "action")) == {
        ("Ann", "switched off"),
        ("Bob", "switched off"),
        ("Ann", "switched on"),
    }


def test_an_action_takes_what_a_filter_over_the_figures_has_found(client: Client) -> None:
    used(a_subscriber("Ann", data_limit=10), 10)
    a_subscriber("Bob")
    ann = Subscriber.objects.get(name="Ann")
    act(
        client,
        "subscriber",
        "switch_off",
        ann,
        query="?state=limited&o=-4",
        select_across="1",
        post="yes",
    )
    assert list(Subscriber.objects.filter(is_active=False)) == [ann]


def test_it_restarts_periods(client: Client) -> None:
    ann, bob, cid = (a_subscriber(name, data_limit=10) for name in ("Ann", "Bob", "Cid"))
    for subscriber in (ann, bob, cid):
        used(subscriber, 100)
    question = act(client, "subscriber", "restart", ann, bob)
    assert "Restart the period of 2 subscribers?" in text_of(question)
    assert balance(ann.token).period_download == 100
    answer = act(client, "subscriber", "restart", ann, bob, post="yes")
    assert messages_of(answer) == ["The periods of 2 subscribers start again from now."]
    assert [balance(found.token).period_download for found in (ann, bob, cid)] == [0, 0, 100]
    assert [balance(found.token).life_download for found in (ann, bob, cid)] == [100, 100, 100]
    assert AuditEntry.objects.filter(action="period restarted", author="root").count() == 2


def test_it_restarts_more_periods_than_fit_one_transaction(client: Client) -> None:
    Subscriber.objects.bulk_create(Subscriber(token=f"user{number}") for number in range(201))
    first = Subscriber.objects.all()[0]
    answer = act(client, "subscriber", "restart", first, select_across="1", post="yes")
    assert messages_of(answer) == ["The periods of 201 subscribers start again from now."]
    assert not Subscriber.objects.exclude(reset_at=NOW).exists()


def test_the_button_asks_before_it_restarts(client: Client) -> None:
    subscriber = a_subscriber()
    used(subscriber, 100)
    assert "Restart the period: Ann" in text_of(
        client.get(url("subscriber_restart", subscriber.pk))
    )
    assert balance(subscriber.token).period_download == 100
    answer = client.post(url("subscriber_restart", subscriber.pk), follow=True)
    assert answer.redirect_chain == [(url("subscriber_usage", subscriber.pk), 302)]
    assert messages_of(answer) == ["The period of 1 subscriber starts again from now."]
    assert balance(subscriber.token).period_download == 0
    assert AuditEntry.objects.get().action == "period restarted"


# Deleting


def test_deleting_hides_and_keeps_every_sum(client: Client) -> None:
    subscriber = a_subscriber()
    used(subscriber, 100)
    before, figures = rows_stored(), sums(Usage, ServerUsage)
    assert "no figure changes" in text_of(client.get(url("subscriber_delete", subscriber.pk)))
    answer = client.post(url("subscriber_delete", subscriber.pk), {"post": "yes"}, follow=True)
    assert messages_of(answer) == ["Ann is hidden from now on; its traffic stays in the totals."]
    assert Subscriber.objects.get().hidden_at == NOW
    assert (rows_stored(), sums(Usage, ServerUsage)) == (before, figures)
    assert AuditEntry.objects.get().action == "deleted"
    assert not LogEntry.objects.exists()


def test_the_question_before_deleting_collects_no_usage(client: Client) -> None:
    subscriber = a_subscriber()
    used(subscriber, 100)
    with queries() as found:
        client.get(url("subscriber_delete", subscriber.pk))
    assert not [sql for sql in found if "traffic_usage" in sql or "traffic_receivedevent" in sql]


def test_many_are_deleted_after_a_question(client: Client) -> None:
    ann, bob, _ = a_subscriber("Ann"), a_subscriber("Bob"), a_subscriber("Cid")
    question = act(client, "subscriber", "delete_selected", ann, bob)
    assert "Delete 2 subscribers" in text_of(question)
    assert Subscriber.objects.visible().count() == 3
    answer = act(client, "subscriber", "delete_selected", ann, bob, post="yes")
    assert messages_of(answer) == [
        "2 subscribers are hidden from now on; the traffic stays in the totals."
    ]
    assert listed(answer) == ["Cid"]
    assert AuditEntry.objects.filter(action="deleted").count() == 2


def test_thousands_are_deleted_with_a_short_form(client: Client) -> None:
    Subscriber.objects.bulk_create(
        Subscriber(token=f"user{number}", name=f"user{number}") for number in range(1500)
    )
    first = Subscriber.objects.all()[0]
    question = act(client, "subscriber", "delete_selected", first, select_across="1")
    assert "and 1480 more" in text_of(question)
    assert question.content.count(b"<input") < 20
    answer = act(client, "subscriber", "delete_selected", first, select_across="1", post="yes")
    assert messages_of(answer) == [
        "1500 subscribers are hidden from now on; the traffic stays in the totals."
    ]
    assert not Subscriber.objects.visible().exists()


def test_those_deleted_are_the_ones_of_the_filter(client: Client) -> None:
    ann, _ = a_subscriber("Ann", is_active=False), a_subscriber("Bob")
    act(
        client,
        "subscriber",
        "delete_selected",
        ann,
        query="?state=disabled",
        select_across="1",
        post="yes",
    )
    assert [found.name for found in Subscriber.objects.visible()] == ["Bob"]


def test_a_page_that_does_not_exist_is_not_found(client: Client) -> None:
    for name in ("usage", "restart"):
        assert client.get(url(f"subscriber_{name}", "none")).status_code == 404


def test_the_panel_is_named(client: Client) -> None:
    assert "Xpert Panel" in text_of(client.get("/admin/"))


def test_history_of_a_subscriber_is_kept(client: Client) -> None:
    subscriber = a_subscriber()
    act(client, "subscriber", "switch_off", subscriber, post="yes")
    assert "root Switched off active: yes → no" in text_of(
        client.get(url("subscriber_history", subscriber.pk))
    )


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "last day: never → 2027-01-01"),
        ("Europe/Moscow", "last day: never → 2027-01-02 03:00 Europe/Moscow"),
        ("America/New_York", "last day: never → 2027-01-01 19:00 America/New_York"),
    ],
)
def test_history_shows_an_end_as_the_last_day_in_the_zone_of_the_panel(
    zone: str, shown: str, client: Client, settings: Settings
) -> None:
    settings.XPERT_TIME_ZONE = zone
    subscriber = a_subscriber()
    changes.edit([subscriber.pk], {"expires_at": datetime(2027, 1, 2, tzinfo=UTC)}, By("eva", NOW))
    assert shown in text_of(client.get(url("subscriber_history", subscriber.pk)))


def test_a_report_right_after_a_restart_counts_again(client: Client) -> None:
    subscriber = a_subscriber()
    used(subscriber, 100)
    client.post(url("subscriber_restart", subscriber.pk))
    used(subscriber, 5, moment=int((NOW + timedelta(seconds=1)).timestamp()))
    assert balance(subscriber.token).period_download == 5


def test_the_form_is_filled_from_the_address_but_for_moments(client: Client) -> None:
    page = client.get(url("subscriber_add"), {"name": "Ann", "expires_at": "tomorrow"})
    assert page.context["adminform"].form.initial == {"name": "Ann"}
