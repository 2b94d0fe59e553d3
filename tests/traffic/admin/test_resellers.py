"""The owner's pages of resellers, and what a reseller does with their own subscribers in the admin."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from operations.models import AuditEntry
from tests.traffic.admin_pages import (
    a_subscriber,
    act,
    form_of,
    listed,
    messages_of,
    operator,
    queries,
    staff,
    text_of,
)
from tests.traffic.examples import GB, a_report, stored
from traffic.checks import check_backends
from traffic.models import Plan, Reseller, Subscriber

pytestmark = pytest.mark.django_db
RESELLERS = "/admin/traffic/reseller/"
SUBSCRIBERS = "/admin/traffic/subscriber/"


@pytest.fixture
def owner() -> Client:
    return operator()


@pytest.fixture
def ivan() -> Reseller:
    account = User.objects.create_user("ivan", is_staff=True)
    return Reseller.objects.create(name="Ivan", account=account, people_limit=2, data_limit=10 * GB)


@pytest.fixture
def client(ivan: Reseller) -> Client:
    client = Client()
    client.force_login(User.objects.get(username="ivan"))
    return client


def used(person: Subscriber, size: int) -> None:
    stored(a_report(user_token=person.token, upload=size, download=0))


def new(**fields: str) -> dict[str, str]:
    usual = {"token": "token-of-nobody-12345", "is_active": "on", "limit_reset": "never"}
    return {"name": "Ann", "data_limit": "1 GB"} | usual | fields


# The owner


def test_a_reseller_is_made_with_an_account_that_has_no_other_rights(owner: Client) -> None:
    plain = User.objects.create_user("plain", is_staff=True)
    duty = User.objects.create_user("duty", is_staff=True)
    duty.groups.add(Group.objects.get(name="operator"))
    User.objects.create_user("nobody")
    page = owner.get(f"{RESELLERS}add/").content.decode()
    assert re.findall(r'<option value="\d+">(\w+)</option>', page) == ["plain"]
    fields = {"name": "Ivan", "people_limit": "5", "data_limit": "5 TB", "account": plain.pk}
    owner.post(f"{RESELLERS}add/", fields)
    made = Reseller.objects.get()
    assert (made.account, made.people_limit, made.data_limit) == (plain, 5, 5 * 1024 * GB)
    answer = owner.post(f"{RESELLERS}add/", fields | {"name": "Olga", "account": duty.pk})
    assert "account" in answer.context["adminform"].form.errors


def test_the_form_keeps_the_account_that_it_has(owner: Client, ivan: Reseller) -> None:
    page = f"{RESELLERS}{ivan.pk}/change/"
    fields = {"name": "Ivan", "people_limit": "", "data_limit": "", "account": ivan.account_id}
    assert owner.post(page, fields).status_code == 302
    ivan.refresh_from_db()
    assert (ivan.people_limit, ivan.data_limit, ivan.account_id) == (None, None, ivan.account_id)


@pytest.mark.parametrize(
    ("field", "value"),
    [("people_limit", "-1"), ("people_limit", "many"), ("data_limit", "5"), ("name", "")],
)
def test_what_is_no_quota_is_refused(owner: Client, field: str, value: str) -> None:
    answer = owner.post(f"{RESELLERS}add/", {"name": "Ivan", field: value})
    assert field in answer.context["adminform"].form.errors
    assert not Reseller.objects.exists()


def test_the_list_tells_people_and_traffic_in_few_queries(owner: Client, ivan: Reseller) -> None:
    ann = a_subscriber("Ann", reseller=ivan, data_limit=4 * GB)
    used(ann, GB)
    owner.get(RESELLERS)
    with queries() as few:
        page = text_of(owner.get(RESELLERS))
    assert "of 2" in page
    assert "4.00 GB of 10.00 GB, 40 %" in page
    for number in range(5):
        Reseller.objects.create(name=f"r{number}", data_limit=GB)
    with queries() as many:
        owner.get(RESELLERS)
    assert len(few) == len(many) <= 8


def test_the_page_tells_what_is_left(owner: Client, ivan: Reseller) -> None:
    used(a_subscriber("Ann", reseller=ivan, data_limit=4 * GB), GB)
    page = text_of(owner.get(f"{RESELLERS}{ivan.pk}/change/"))
    assert "left 6.00 GB" in page
    a_subscriber("Bob", reseller=ivan)
    page = text_of(owner.get(f"{RESELLERS}{ivan.pk}/change/"))
    assert "1 subscriber has no data limit" in page


def test_the_count_is_restarted_after_a_question(owner: Client, ivan: Reseller) -> None:
    used(a_subscriber("Ann", reseller=ivan, data_limit=4 * GB), GB)
    owner.post(f"{RESELLERS}{ivan.pk}/restart/")
    assert AuditEntry.objects.filter(action="period restarted").exists()
    assert "left 7.00 GB" in text_of(owner.get(f"{RESELLERS}{ivan.pk}/change/"))


def test_deleting_a_reseller_says_who_stays(owner: Client, ivan: Reseller) -> None:
    ann = a_subscriber("Ann", reseller=ivan)
    page = f"{RESELLERS}{ivan.pk}/delete/"
    assert "The subscribers of this reseller stay" in text_of(owner.get(page))
    owner.post(page, {"post": "yes"})
    ann.refresh_from_db()
    assert ann.reseller is None
    assert not Reseller.objects.exists()


def test_months_are_told_by_reseller(owner: Client, ivan: Reseller) -> None:
    used(a_subscriber("Ann", reseller=ivan), 3 * GB)
    used(a_subscriber("Bob"), GB)
    page = f"{RESELLERS}bill/?month=2024-02"
    assert "Ivan 1 3.000 GB" in text_of(owner.get(page))
    lines = b"".join(owner.get(f"{page}&file=csv")).decode("utf-8-sig").splitlines()
    assert lines[1].startswith(f"2024-02,{ivan.pk},Ivan,1,{3 * GB},0,0,{3 * GB},3")
    assert lines[2].startswith(f"2024-02,,,1,{GB},")


def test_subscribers_are_moved_and_filtered_by_reseller(owner: Client, ivan: Reseller) -> None:
    ann, _bob = a_subscriber("Ann", data_limit=GB), a_subscriber("Bob")
    act(owner, "subscriber", "set_reseller", ann, post="yes", reseller=str(ivan.pk))
    assert listed(owner.get(f"{SUBSCRIBERS}?reseller={ivan.pk}")) == ["Ann"]
    assert listed(owner.get(f"{SUBSCRIBERS}?reseller=none")) == ["Bob"]
    assert AuditEntry.objects.get().changes == {"reseller": [None, "Ivan"]}
    assert "Ivan" in text_of(owner.get(f"{SUBSCRIBERS}{ann.pk}/usage/"))


def test_moving_beyond_a_quota_says_why_and_moves_nobody(owner: Client, ivan: Reseller) -> None:
    people = [a_subscriber(name, data_limit=GB) for name in ("a", "b", "c")]
    answer = act(owner, "subscriber", "set_reseller", *people, post="yes", reseller=str(ivan.pk))
    assert "The quota of reseller Ivan is used up: at most 2" in messages_of(answer)[0]
    assert not Subscriber.objects.exclude(reseller=None).exists()


def test_a_new_subscriber_is_given_to_a_reseller(owner: Client, ivan: Reseller) -> None:
    owner.post(f"{SUBSCRIBERS}add/", new(reseller=str(ivan.pk)))
    assert Subscriber.objects.get().reseller == ivan


def test_a_viewer_moves_nobody_and_operators_do() -> None:
    moving = staff("view_subscriber", "change_subscriber")
    assert "set_reseller" not in moving.get(SUBSCRIBERS).content.decode()
    ann = a_subscriber()
    assert moving.get(f"{SUBSCRIBERS}{ann.pk}/set_reseller/").status_code == 403


# The reseller


def test_a_new_subscriber_is_their_own(client: Client, ivan: Reseller) -> None:
    other = Reseller.objects.create(name="Olga")
    client.post(f"{SUBSCRIBERS}add/", new(reseller=str(other.pk), external_id="7"))
    made = Subscriber.objects.get()
    assert (made.reseller, made.external_id) == (ivan, "")
    assert client.get(f"{SUBSCRIBERS}{made.pk}/usage/").status_code == 200


def test_the_form_says_what_the_quota_refuses_and_keeps_what_was_entered(
    client: Client, ivan: Reseller
) -> None:
    answer = client.post(f"{SUBSCRIBERS}add/", new(data_limit="11 GB"))
    assert "of which 10.00 GB is left; this needs 11.00 GB" in text_of(answer)
    assert 'value="Ann"' in answer.content.decode()
    assert not Subscriber.objects.exists()
    assert not AuditEntry.objects.exists()
    assert client.post(f"{SUBSCRIBERS}add/", new(data_limit="10 GB")).status_code == 302


def test_an_unlimited_subscriber_is_refused(client: Client) -> None:
    answer = client.post(f"{SUBSCRIBERS}add/", new(data_limit=""))
    assert "need a data limit that does not start again by itself" in text_of(answer)
    assert not Subscriber.objects.exists()


def test_a_raised_limit_is_refused_in_the_form(client: Client, ivan: Reseller) -> None:
    ann = a_subscriber("Ann", reseller=ivan, data_limit=5 * GB)
    page = f"{SUBSCRIBERS}{ann.pk}/change/"
    answer = client.post(page, form_of(ann, data_limit="20 GB"))
    assert "The traffic quota of reseller Ivan is 10.00 GB" in text_of(answer)
    assert client.post(page, form_of(ann, data_limit="9 GB")).status_code == 302
    ann.refresh_from_db()
    assert (ann.data_limit, ann.reseller) == (9 * GB, ivan)


def test_an_action_beyond_the_quota_says_why(client: Client, ivan: Reseller) -> None:
    ann = a_subscriber("Ann", reseller=ivan, data_limit=GB)
    answer = act(client, "subscriber", "set_limit", ann, post="yes", data_limit="11 GB")
    assert "The traffic quota of reseller Ivan" in messages_of(answer)[0]
    plan = Plan.objects.create(name="Huge", data_limit=11 * GB)
    page = f"{SUBSCRIBERS}{ann.pk}/apply_plan/"
    answer = client.post(page, {"plan": str(plan.pk)}, follow=True)
    assert "The traffic quota of reseller Ivan" in messages_of(answer)[0]
    ann.refresh_from_db()
    assert (ann.data_limit, ann.plan) == (GB, None)


def test_resellers_choose_no_tokens(client: Client, ivan: Reseller) -> None:
    """One that is somebody else's name, or was somebody else's token, would take their place."""
    client.post(f"{SUBSCRIBERS}add/", new(token="bob"))
    made = Subscriber.objects.get()
    assert (made.name, made.reseller) == ("Ann", ivan)
    assert len(made.token) >= 32
    client.post(f"{SUBSCRIBERS}{made.pk}/change/", new(name="Anna", token="bob"))
    assert (made.token, "Anna") == Subscriber.objects.values_list("token", "name").get()
    file = SimpleUploadedFile("people.csv", b"name,token,data_limit\nCid,bob,1GB\n")
    shown = client.post(f"{SUBSCRIBERS}import/", {"file": file}).context
    assert "Unknown columns: token" in str(shown["errors"])


def test_an_import_is_their_own_and_keeps_the_quota(client: Client, ivan: Reseller) -> None:
    def sent(*names: str) -> Any:
        lines = "\n".join(["name,data_limit", *(f"{name},1GB" for name in names)])
        file = SimpleUploadedFile("people.csv", lines.encode())
        shown = client.post(f"{SUBSCRIBERS}import/", {"file": file}).context
        told = {"content": shown["content"], "seed": shown["seed"]}
        return client.post(f"{SUBSCRIBERS}import/", told, follow=True)

    assert "at most 2 subscribers" in messages_of(sent("a", "b", "c"))[0]
    assert not Subscriber.objects.exists()
    assert "2 subscribers were created." in messages_of(sent("a", "b"))[0]
    assert set(Subscriber.objects.values_list("reseller", flat=True)) == {ivan.pk}


def test_a_deleted_subscriber_comes_back_within_the_quota(client: Client, ivan: Reseller) -> None:
    ann = a_subscriber("Ann", reseller=ivan, data_limit=GB)
    act(client, "subscriber", "delete_selected", ann, post="yes")
    assert listed(client.get(f"{SUBSCRIBERS}?shown=deleted")) == ["Ann"]
    for name in ("b", "c"):
        a_subscriber(name, reseller=ivan, data_limit=GB)
    answer = client.post(f"{SUBSCRIBERS}{ann.pk}/bring_back/", follow=True)
    assert "The quota of reseller Ivan is used up" in messages_of(answer)[0]


def test_a_link_is_handed_out_and_noted(client: Client, ivan: Reseller) -> None:
    ann = a_subscriber("Ann", reseller=ivan)
    answer = client.post(f"{SUBSCRIBERS}{ann.pk}/link/", headers={"accept": "application/json"})
    assert ann.token in answer.json()["url"]
    assert AuditEntry.objects.get().author == "ivan"
    assert ann.token in b"".join(client.get(f"{SUBSCRIBERS}export/list.csv")).decode()


def test_the_first_screen_tells_the_quota(client: Client, ivan: Reseller) -> None:
    used(a_subscriber("Ann", reseller=ivan, data_limit=10 * GB), GB)
    page = text_of(client.get("/admin/"))
    assert "10.00 GB of 10.00 GB, 100 %" in page
    assert "The traffic quota is used up: nothing more can be given to subscribers." in page


def test_the_sidebar_holds_subscribers_alone(client: Client) -> None:
    page = client.get("/admin/").content.decode()
    assert set(re.findall(r'href="/admin/(\w+/\w+)/"', page)) == {"traffic/subscriber"}


def test_an_account_that_is_switched_off_signs_in_no_more(client: Client, ivan: Reseller) -> None:
    User.objects.filter(username="ivan").update(is_active=False)
    assert client.get(SUBSCRIBERS).status_code == 302
    assert "ivan (switched off)" in text_of(operator().get(RESELLERS))


# The settings


@pytest.mark.parametrize(
    ("backends", "is_right"),
    [
        (["traffic.backends.ResellerBackend", "django.contrib.auth.backends.ModelBackend"], True),
        (["django.contrib.auth.backends.ModelBackend", "traffic.backends.ResellerBackend"], False),
        (["django.contrib.auth.backends.ModelBackend"], False),
        (
            [
                "operations.admin.signing_in.StaffBackend",
                "traffic.backends.ResellerBackend",
                "django.contrib.auth.backends.ModelBackend",
            ],
            False,
        ),
    ],
)
def test_the_start_refuses_settings_that_would_open_more(
    backends: list[str], is_right: bool, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = backends
    assert [found.id for found in check_backends()] == ([] if is_right else ["traffic.E011"])
