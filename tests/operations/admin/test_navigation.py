"""The sidebar shows each user only what they may see."""

import re

import pytest
from django.test import Client

from tests.traffic.admin_pages import operator, staff

pytestmark = pytest.mark.django_db

_ENTRY = re.compile(r'<li>\s*<a href="([^"]+)"')


def entries(client: Client) -> list[str]:
    """The addresses in the sidebar."""
    page = client.get("/admin/").content.decode()
    return _ENTRY.findall(page.partition('id="nav-sidebar-apps"')[2])


def test_an_operator_sees_subscribers_first_and_access_last() -> None:
    found = entries(operator())
    assert found[:3] == ["/admin/", "/admin/traffic/subscriber/", "/admin/traffic/plan/"]
    assert {"/admin/operations/apikey/", "/admin/auth/user/", "/admin/auth/group/"} <= set(
        found[-7:]
    )


def test_no_link_of_the_sidebar_is_dead() -> None:
    client = operator()
    assert {client.get(address, follow=True).status_code for address in entries(client)} == {200}


def test_a_person_sees_only_what_they_may_open() -> None:
    assert entries(staff("view_server")) == ["/admin/", "/admin/traffic/server/"]
