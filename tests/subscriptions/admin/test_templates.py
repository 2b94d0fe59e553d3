"""Templates of lists in the admin."""

import html
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from operations.models import AuditEntry
from subscriptions import cores, list_templates
from subscriptions.cores import Verdict
from subscriptions.models import Brand, Group, Template
from subscriptions.skeletons import ready
from tests.subscriptions.examples import A, B, direct, subscriber
from tests.subscriptions.serving.test_templates import JSON, YAML, template

pytestmark = pytest.mark.django_db
LIST = "/admin/subscriptions/template/"
ADD = f"{LIST}add/"


@pytest.fixture(autouse=True)
def no_core(settings: Settings) -> None:
    settings.XPERT_CORES = ["off"]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    """The last of these is what a core says."""
    found = [Verdict("fine", "mihomo")]
    monkeypatch.setattr(cores, "verdict", lambda *_: found[-1])
    return found


def form(**fields: Any) -> dict[str, Any]:
    return {"name": "mine", "format": "mihomo", "text": YAML, "in_use": "on"} | fields


def posted(browser: Client, path: str = ADD, **fields: Any) -> str:
    answer = browser.post(path, form(**fields), follow=True)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def page(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


class TestSaving:
    def test_a_good_one_is_saved_with_the_line_breaks_of_the_panel(
        self, admin_client: Client
    ) -> None:
        posted(admin_client, text=YAML.replace("\n", "\r\n"))
        it = Template.objects.get()
        assert (it.text, it.in_use) == (YAML, True)

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"text": "a: ["}, "This is not YAML."),
            ({"text": "a: b"}, "There is no place for servers"),
            ({"text": YAML.replace("MATCH,Mine", "MATCH,Gone")}, "MATCH,Gone"),
            ({"text": YAML.replace("<servers>", "<source Gone>")}, "There is no source “gone”."),
            ({"format": "sing-box"}, "This is not JSON."),
            ({"text": ""}, "This field is required."),
        ],
    )
    def test_a_bad_one_is_refused_with_the_reason_and_its_text_stays(
        self, admin_client: Client, fields: dict[str, str], said: str
    ) -> None:
        shown = posted(admin_client, **fields)
        assert said in shown
        assert form(**fields)["text"] in shown
        assert not Template.objects.exists()

    def test_what_the_real_core_refuses_is_not_saved(
        self, admin_client: Client, judged: list[Verdict]
    ) -> None:
        it = template(in_use=False)
        judged.append(Verdict("refused", "mihomo", "unknown group type"))
        shown = posted(admin_client, f"{LIST}{it.pk}/change/", text=YAML.replace("select", "selec"))
        assert "mihomo refuses the list: unknown group type" in shown
        it.refresh_from_db()
        assert it.text == YAML

    @pytest.mark.parametrize("state", ["fine", "unjudged", "absent"])
    def test_what_it_does_not_refuse_is(
        self, admin_client: Client, judged: list[Verdict], state: str
    ) -> None:
        judged.append(Verdict(state, "mihomo", "words"))
        shown = posted(admin_client)
        assert {
            "fine": "mihomo accepts the list.",
            "unjudged": "The form is right, but mihomo cannot check it here: words",
            "absent": "No core is installed here",
        }[state] in shown
        assert Template.objects.exists()

    def test_the_core_is_asked_before_the_transaction_and_its_word_is_kept(
        self, admin_client: Client, settings: Settings, tmp_path: Any
    ) -> None:
        core = tmp_path / "mihomo"
        core.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/log\n")
        core.chmod(0o755)
        settings.XPERT_CORES = [str(core)]
        posted(admin_client, text=YAML + "# once\n")
        assert (tmp_path / "log").read_text() == "asked\n"

    def test_saving_it_again_ends_a_failure(self, admin_client: Client) -> None:
        it = template(failed_at="2026-01-01T00:00:00Z", failure="bad_yaml")
        assert "It fails, so people get the built-in list" in page(admin_client, LIST)
        posted(admin_client, f"{LIST}{it.pk}/change/")
        it.refresh_from_db()
        assert (it.failed_at, it.failure) == (None, "")

    def test_putting_one_to_use_switches_off_the_other_for_everybody(
        self, admin_client: Client
    ) -> None:
        first = template(name="first")
        posted(admin_client, name="second")
        first.refresh_from_db()
        assert not first.in_use
        admin_client.post(LIST, {"action": "put_to_use", "_selected_action": [first.pk]})
        assert list(Template.objects.filter(in_use=True)) == [first]

    def test_one_is_switched_off_in_the_list(self, admin_client: Client) -> None:
        it = template()
        admin_client.post(LIST, {"action": "switch_off", "_selected_action": [it.pk]})
        it.refresh_from_db()
        assert not it.in_use

    def test_one_of_a_group_leaves_that_of_everybody_alone(self, admin_client: Client) -> None:
        first = template(name="first")
        friends = Group.objects.create(name="friends")
        posted(admin_client, name="second", groups=[friends.pk])
        first.refresh_from_db()
        assert first.in_use
        assert "friends" in page(admin_client, LIST)

    def test_the_audit_trail_holds_no_text(self, admin_client: Client) -> None:
        it = template(in_use=False)
        posted(admin_client, f"{LIST}{it.pk}/change/", text=YAML + "# very-secret\n")
        entry = AuditEntry.objects.filter(target_kind="subscriptions.template").latest("id")
        assert "text" in entry.changes
        assert "secret" not in str(entry.changes)


class TestReady:
    @pytest.mark.parametrize("each", [pytest.param(each, id=each.key) for each in ready.READY])
    def test_the_form_begins_with_a_ready_one_which_is_saved_as_it_is(
        self, admin_client: Client, each: ready.Ready
    ) -> None:
        assert f"?ready={each.key}" in page(admin_client, ADD)
        answer = admin_client.get(ADD, {"ready": each.key})
        given = answer.context["adminform"].form.initial
        posted(admin_client, **given)
        assert Template.objects.get().text == each.text

    def test_an_unknown_one_is_an_empty_form(self, admin_client: Client) -> None:
        assert admin_client.get(ADD, {"ready": "x"}).status_code == 200


class TestTrying:
    def test_it_shows_groups_and_numbers_and_saves_nothing(self, admin_client: Client) -> None:
        direct(A, B)
        text = YAML.replace(
            "rules:", '  - {name: Swiss, type: select, proxies: ["<country CH>"]}\nrules:'
        )
        shown = posted(admin_client, text=text, _try="1")
        assert "Servers: 2 of 2" in shown
        assert "Groups that are left out, because no server fits: <bdi>Swiss</bdi>" in shown
        assert "No core is installed here" in shown
        assert not Template.objects.exists()

    def test_it_shows_no_credentials(self, admin_client: Client) -> None:
        direct("trojan://very-secret@a.example:1#A")
        for format_name, text in (("mihomo", YAML), ("sing-box", JSON)):
            shown = posted(admin_client, format=format_name, text=text, _try="1")
            assert "Servers: 1 of 1" in shown
            assert "very-secret" not in shown

    @pytest.mark.parametrize("named", ["user123", "Ann"])
    def test_it_is_for_the_person_who_is_named(self, admin_client: Client, named: str) -> None:
        (mine, _other) = direct(A, B)
        friends = Group.objects.create(name="friends")
        mine.groups.add(friends)
        assert "Servers: 1 of 1" in posted(admin_client, _try="1")
        friends.subscribers.add(subscriber(name="Ann"))
        assert "Servers: 2 of 2" in posted(admin_client, _try="1", _person=named)

    @pytest.mark.parametrize("named", ["nobody", "Ann", "' OR 1=1", "\0"])
    def test_an_unknown_or_ambiguous_person_is_an_error(
        self, admin_client: Client, named: str
    ) -> None:
        subscriber("one", name="Ann")
        subscriber("two", name="Ann")
        assert "There is no subscriber" in posted(admin_client, _try="1", _person=named)

    def test_without_the_right_to_see_subscribers_none_can_be_named(
        self, staff: Callable[..., Client]
    ) -> None:
        subscriber()
        browser = staff("view_template", "add_template")
        assert "_person" not in page(browser, ADD)
        assert "There is no subscriber" in posted(browser, _try="1", _person="user123")

    def test_a_bad_text_is_an_error(self, admin_client: Client) -> None:
        shown = posted(admin_client, text="a: [", _try="1")
        assert shown.count("This is not YAML.") == 2
        assert "Choose a format." in posted(admin_client, format="x", _try="1")

    def test_what_the_core_says_of_the_persons_list_is_shown(
        self, admin_client: Client, judged: list[Verdict]
    ) -> None:
        assert "mihomo accepts the list." in posted(admin_client, _try="1")

    def test_whatever_fails_is_an_answer(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr("subscriptions.serving.custom_lists.servers_of", fail)
        assert "ZeroDivisionError" in posted(admin_client, _try="1")


class TestRights:
    def test_viewers_see_the_beginning_of_the_text_only(self, staff: Callable[..., Client]) -> None:
        it = template()
        shown = page(staff("view_template"), f"{LIST}{it.pk}/change/")
        assert "proxy-groups" not in shown
        assert "mode…" in shown

    def test_they_may_neither_save_nor_try(
        self, staff: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        it = template()
        monkeypatch.setattr(list_templates, "check", lambda *_: pytest.fail("asked"))
        browser = staff("view_template")
        for extra in ({}, {"_try": "1"}):
            answer = browser.post(f"{LIST}{it.pk}/change/", form(text="x", **extra))
            assert answer.status_code == 403
        assert browser.post(ADD, form(_try="1")).status_code == 403

    def test_the_list_takes_few_queries(
        self, admin_client: Client, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(9):
            template(name=f"t{number}").groups.add(Group.objects.create(name=f"g{number}"))
        with django_assert_max_num_queries(10):
            page(admin_client, LIST)


class TestRoutingOfHapp:
    URL = "/admin/subscriptions/brand/1/change/"

    def saved(self, browser: Client, text: str) -> tuple[str, str]:
        """The stored link, and the page."""
        Brand.objects.get_or_create(pk=1)
        shown = browser.post(self.URL, {"happ_routing": text}, follow=True).content.decode()
        return Brand.objects.get().happ_routing, shown

    def test_json_becomes_a_link(self, admin_client: Client) -> None:
        link = "happ://routing/onadd/eyJOYW1lIjoiUlUifQ=="
        assert self.saved(admin_client, '{ "Name": "RU" }')[0] == link
        assert self.saved(admin_client, link)[0] == link
        assert self.saved(admin_client, "happ://routing/off")[0] == "happ://routing/off"
        assert self.saved(admin_client, "")[0] == ""

    @pytest.mark.parametrize(
        "text",
        [
            "{", "[]", "https://a.example", "happ://routing/onadd/", "happ://routing/onadd/!!!!",
            "happ://routing/onadd/bm90IGpzb24=", "happ://routing/add/W10=", "happ://routing/off\r\nX: y",
            '{"a": "' + "x" * 2300 + '"}',
        ],
    )  # fmt: skip
    def test_anything_else_is_refused(self, admin_client: Client, text: str) -> None:
        stored, shown = self.saved(admin_client, text)
        assert stored == ""
        assert "happ://routing/add/…" in shown
