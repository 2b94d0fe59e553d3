"""The server of a 3x-ui: chosen with its key, on the command line or in the admin, and changed later."""

from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse

from integrations.three_x_ui import key_options, reporter_page
from operations.api.authentication import create_api_key
from operations.models import ApiKey, AuditEntry
from tests.integrations.three_x_ui.conftest import Inform
from traffic.models import Reporter

pytestmark = pytest.mark.django_db
SERVER = "vpn.example.com:443/vless"
ADD = reverse("admin:operations_apikey_add")


def change(key: ApiKey) -> str:
    return reverse("admin:operations_apikey_change", args=[key.pk])


@pytest.mark.parametrize(("text", "endpoint"), [
    (SERVER, ("vpn.example.com", 443, "vless")),
    (" VPN.Example.com.:8443/HY2 ", ("vpn.example.com", 8443, "hysteria2")),
    ("[2001:DB8::1]:443/ss", ("2001:db8::1", 443, "shadowsocks")),
])  # fmt: skip
def test_a_server_is_normalised_as_in_a_report(text: str, endpoint: tuple[str, int, str]) -> None:
    assert key_options.endpoint(text) == endpoint
    assert key_options.endpoint(key_options.SERVER.clean(text)) == endpoint


@pytest.mark.parametrize("text", ["", "x", "vpn.example.com", "vpn.example.com:443", "vpn.example.com/vless",
                                  "a b:443/vless", "vpn.example.com:0/vless", "vpn.example.com:443/", ":443/vless"])  # fmt: skip
def test_anything_else_is_not_a_server(text: str) -> None:
    with pytest.raises(ValueError, match="Expected a server like"):
        key_options.endpoint(text)


def test_the_command_takes_it() -> None:
    out = StringIO()
    call_command("create_api_key", "friend", "--scope", "report", "--server", SERVER, stdout=out)
    key = ApiKey.objects.get()
    assert key_options.server_of(key.pk) == ("vpn.example.com", 443, "vless")
    assert len(out.getvalue().splitlines()[-1]) == 43


def test_the_command_refuses_what_is_not_a_server() -> None:
    with pytest.raises(CommandError, match="--server: Expected a server like"):
        call_command("create_api_key", "friend", "--scope", "report", "--server", "x")
    assert not ApiKey.objects.exists()


def test_without_one_there_is_none(db: None) -> None:
    call_command("create_api_key", "friend", "--scope", "report", stdout=StringIO())
    assert key_options.server_of(ApiKey.objects.get().pk) is None


class TestAdmin:
    def test_a_new_key_may_have_one(self, admin_client: Client) -> None:
        fields = {"name": "friend", "scope": "report", "server": f" {SERVER}"}
        assert admin_client.post(ADD, fields).status_code == 302
        assert ApiKey.objects.get().options["server"] == SERVER

    def test_what_is_not_a_server_is_refused_in_words(self, admin_client: Client) -> None:
        fields = {"name": "friend", "scope": "report", "server": "x"}
        assert "Expected a server like" in admin_client.post(ADD, fields).content.decode()
        assert not ApiKey.objects.exists()

    @pytest.fixture
    def key(self) -> ApiKey:
        return create_api_key("friend", "report", None, {"grade": "measured"})[0]

    def test_it_is_chosen_later_and_the_rest_stays(self, admin_client: Client, key: ApiKey) -> None:
        assert 'name="server"' in admin_client.get(change(key)).content.decode()
        answer = admin_client.post(change(key), {"name": "friend", "server": SERVER})
        assert answer.status_code == 302
        key.refresh_from_db()
        assert key.options == {"grade": "measured", "server": SERVER}
        assert AuditEntry.objects.get().changes == {"server": ["", SERVER]}

    def test_and_taken_back(self, admin_client: Client, key: ApiKey) -> None:
        admin_client.post(change(key), {"name": "friend", "server": SERVER})
        admin_client.post(change(key), {"name": "friend", "server": ""})
        assert key_options.server_of(key.pk) is None

    def test_what_cannot_change_does_not(self, admin_client: Client, key: ApiKey) -> None:
        admin_client.post(change(key), {"name": "friend", "grade": "reported", "scope": "manage"})
        key.refresh_from_db()
        assert (key.options["grade"], key.scope) == ("measured", "report")

    def test_a_key_that_does_not_report_has_none(self, admin_client: Client) -> None:
        key = create_api_key("reader", "read")[0]
        assert 'name="server"' not in admin_client.get(change(key)).content.decode()
        admin_client.post(change(key), {"name": "reader", "server": SERVER})
        key.refresh_from_db()
        assert key.options == {}

    def test_whoever_may_only_look_sees_the_page(self, key: ApiKey, django_user_model: Any) -> None:
        client = Client()
        user = django_user_model.objects.create_user("viewer", is_staff=True)
        user.user_permissions.add(*_permissions("view_apikey"))
        client.force_login(user)
        shown = client.get(change(key))
        assert shown.status_code == 200
        assert 'name="server"' not in shown.content.decode()


def _permissions(*names: str) -> Any:
    from django.contrib.auth.models import Permission  # noqa: PLC0415

    return Permission.objects.filter(codename__in=names)


class TestReporterPage:
    def shown(self, reporter: Reporter, *, may: bool = True) -> str:
        request: Any = SimpleNamespace(user=SimpleNamespace(has_perm=lambda _: may))
        return reporter_page.server(request, reporter)

    def test_it_asks_for_the_server(self, inform: Inform) -> None:
        inform({"email": "a", "up": 1})
        reporter = Reporter.objects.get()
        shown = self.shown(reporter)
        assert "No server is chosen" in shown
        assert change(ApiKey.objects.get()) in shown
        assert "Choose the server" not in self.shown(reporter, may=False)

    def test_it_is_a_part_of_that_page(self, admin_client: Client, inform: Inform) -> None:
        inform({"email": "a", "up": 1})
        page = reverse("admin:traffic_reporter_reported", args=[Reporter.objects.get().pk])
        assert "No server is chosen" in admin_client.get(page).content.decode()

    def test_it_names_the_server(self, inform: Inform) -> None:
        inform({"email": "a", "up": 1})
        ApiKey.objects.update(options={"server": SERVER})
        assert SERVER in self.shown(Reporter.objects.get())

    def test_other_reporters_are_not_asked(self) -> None:
        assert self.shown(Reporter(kind=Reporter.Kind.READINGS)) == ""
