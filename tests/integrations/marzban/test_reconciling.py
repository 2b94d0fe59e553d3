"""The stored account: comparing people with the panel's list, and the difference report."""

from collections.abc import Iterator

import pytest
from django.utils import timezone
from pytest_django import Settings

from integrations.marzban import accounts, differences, people, reconciling
from integrations.marzban.models import HandOver, PanelIdentity, PanelLink
from integrations.marzban.panel_api import PAGE, ApiError
from integrations.marzban.wire import Person
from operations.audit import By
from tests.integrations.marzban.panel_api import PASSWORD, PanelApiServer, running_api
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Iterator[PanelApiServer]:
    with running_api("") as found:
        yield found


@pytest.fixture
def link(api: PanelApiServer) -> PanelLink:
    found = PanelLink.objects.create(name="Marzban", url=api.url, node_id=4)
    accounts.store(found, "admin", PASSWORD, By("ann", timezone.now()))
    return found


def has(api: PanelApiServer, **statuses: str) -> None:
    api.users = [{"username": name, "status": status} for name, status in statuses.items()]


def suspensions() -> dict[str, str]:
    return dict(Subscriber.objects.filter(is_active=True).values_list("name", "suspension"))


def test_people_follow_the_list(api: PanelApiServer, link: PanelLink) -> None:
    people.came(link, [Person(1, "Alice"), Person(2, "bob")], timezone.now())
    has(api, alice="limited", bob="active", carol="expired", dave="on_hold", eve="brand new")
    assert reconciling.reconcile(link, timezone.now()) == 5
    assert suspensions() == {"Alice": "limited", "bob": "", "carol": "expired", "dave": ""}
    link.refresh_from_db()
    assert (link.reconcile_error, link.reconciled_at is not None) == ("", True)


def test_whoever_is_missing_was_deleted(api: PanelApiServer, link: PanelLink) -> None:
    people.told(link, {"alice": "", "bob": ""}, timezone.now())
    has(api, alice="active")
    reconciling.reconcile(link, timezone.now())
    assert suspensions() == {"alice": ""}
    assert PanelIdentity.objects.get(username="bob").closed_at is not None


def test_somebody_may_be_missed_once_when_a_page_moves(
    api: PanelApiServer, link: PanelLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.told(link, {"alice": "", "bob": ""}, timezone.now())
    pages = iter([{"alice": "active"}, {"alice": "active", "bob": "active"}])
    answer = api._users

    def moving(path: str, query: dict[str, list[str]]) -> tuple[int, object]:
        has(api, **next(pages))
        return answer(path, query)

    monkeypatch.setattr(api, "_users", moving)
    reconciling.reconcile(link, timezone.now())
    assert suspensions() == {"alice": "", "bob": ""}


def test_all_pages_are_read(api: PanelApiServer, link: PanelLink) -> None:
    has(api, **{f"u{number}": "active" for number in range(2 * PAGE)})
    assert reconciling.reconcile(link, timezone.now()) == 2 * PAGE
    assert Subscriber.objects.count() == 2 * PAGE


def test_an_error_is_noted_and_changes_nobody(api: PanelApiServer, link: PanelLink) -> None:
    people.told(link, {"alice": ""}, timezone.now())
    api.admins.clear()
    with pytest.raises(ApiError):
        reconciling.reconcile(link, timezone.now())
    link.refresh_from_db()
    assert link.reconcile_error == "password"
    assert suspensions() == {"alice": ""}


def test_the_account_is_encrypted_and_can_be_forgotten(
    api: PanelApiServer, link: PanelLink, settings: Settings
) -> None:
    link.refresh_from_db()
    assert link.account_name == "admin"
    assert PASSWORD not in link.account_password
    settings.SECRET_KEY = "another-key-" * 5
    with pytest.raises(ApiError, match="sealed"):
        accounts.sign_in(link)
    accounts.forget(link, By("ann", timezone.now()))
    with pytest.raises(ApiError, match="no_account"):
        accounts.sign_in(link)
    with pytest.raises(ApiError, match="password"):
        accounts.store(link, "admin", "wrong", By("ann", timezone.now()))


def test_the_difference_is_what_was_sent_and_not_booked(
    api: PanelApiServer, link: PanelLink
) -> None:
    now = timezone.now()
    for state, size in (("sent", 1000), ("unknown", 70), ("returned", 5)):
        HandOver.objects.create(link=link, what="users", state=state, made_at=now, download=size)
    HandOver.objects.create(link=link, what="servers", state="sent", made_at=now, download=9999)
    api.booked = [{"node_id": 4, "used_traffic": 900.0}, {"node_id": None, "used_traffic": 1}]
    found = differences.find(link, now)
    assert (found.sent, found.unknown, found.booked, found.missing) == (1000, 70, 900, 100)
