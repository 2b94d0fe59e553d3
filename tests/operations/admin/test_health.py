import pytest
from django.test import Client

from operations.findings import Finding, Level
from operations.watch import doctor
from tests.traffic.admin_pages import operator, staff, text_of, url

pytestmark = pytest.mark.django_db


def test_the_page_says_what_doctor_says_worst_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        Finding(Level.OK, "Clock", "Right."),
        Finding(Level.WARNING, "Disk", "Nearly full.", "Make room."),
        Finding(Level.ERROR, "Files", "Others <can> read them.", "chmod 600"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda now: found)
    text = text_of(operator().get(url("commandrun_changelist")))
    assert (
        "broken Files Others &lt;can&gt; read them. chmod 600 attention Disk Nearly full. Make room. OK Clock Right."
        in text
    )


@pytest.mark.parametrize(("permission", "status"), [("view_commandrun", 200), ("view_usage", 403)])
def test_users_without_the_permission_do_not_see_it(permission: str, status: int) -> None:
    assert staff(permission).get(url("commandrun_changelist")).status_code == status
    assert Client().get(url("commandrun_changelist")).status_code == 302


def test_nothing_is_made_there() -> None:
    assert operator().get(url("commandrun_add")).status_code == 403
