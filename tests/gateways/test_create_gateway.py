"""``manage.py create_gateway``: its key alone on the last line, and nothing half made."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from gateways.models import Gateway
from operations.api.authentication import digest
from operations.models import ApiKey, AuditEntry
from tests.subscriptions.examples import source

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("create_gateway", "gw", "--host", "GW.example.com.", *arguments, stdout=out)
    return out.getvalue().splitlines()


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        create(*arguments)
    assert not Gateway.objects.exists()
    assert not ApiKey.objects.exists()
    return str(caught.value)


def test_the_key_stands_alone_on_the_last_line_and_only_its_hash_is_kept() -> None:
    lines = create("--protocol", "shadowsocks")
    made = Gateway.objects.get()
    assert made.key.hash == digest(lines[-1])
    assert made.key.scope == ApiKey.Scope.BOUND
    assert lines[-1] not in "".join(lines[:-1])


def test_by_default_everything_goes_through_it_instead_of_directly() -> None:
    create("--protocol", "shadowsocks")
    made = Gateway.objects.get()
    assert (made.beside, made.direct, made.all_sources) == (False, True, True)
    assert made.host == "gw.example.com"


def test_each_protocol_may_have_a_port_of_its_own() -> None:
    create(
        "--protocol", "trojan:8443", "hysteria2", "shadowsocks",
        "--certificate", "/c.pem", "--private-key", "/k.pem",
    )  # fmt: skip
    found = Gateway.objects.get().inbounds.values_list("protocol", "port")
    assert list(found) == [("trojan", 8443), ("hysteria2", 443), ("shadowsocks", 8388)]


def test_a_single_protocol_takes_its_port_from_the_option() -> None:
    create("--protocol", "shadowsocks", "--port", "9000")
    assert Gateway.objects.get().inbounds.get().port == 9000


def test_sources_are_chosen_by_their_ids() -> None:
    one, _ = source("one"), source("two")
    create("--protocol", "shadowsocks", "--sources", str(one.pk), "--direct", "none", "--beside")
    made = Gateway.objects.get()
    assert list(made.sources.all()) == [one]
    assert (made.all_sources, made.direct, made.beside) == (False, False, True)


def test_it_refuses_while_open_access_is_on(settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS = True
    assert "Open access" in refused("--protocol", "shadowsocks")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--protocol", "wireguard"], "sing-box has no protocol"),
        (["--engine", "xray", "--protocol", "hysteria2"], "Xray has no protocol"),
        (["--engine", "xray", "--protocol", "vless:21000", "trojan:21499"], "same port"),
        (["--engine", "xray", "--protocol", "vless:65037"], "at most 65036"),
        (["--protocol", "shadowsocks:0"], "not a port"),
        (["--protocol", "shadowsocks:65536"], "not a port"),
        (["--protocol", "shadowsocks:"], "does not end in a port"),
        (["--protocol", "shadowsocks", "shadowsocks:9"], "once"),
        (["--protocol", "trojan", "--reality-server-name", "example.com"], "REALITY is for vless"),
        (["--protocol", "vless", "--reality-server-name", "a b"], "REALITY's server name"),
        (["--protocol", "trojan", "--certificate", "/c.pem"], "certificate"),
        (["--protocol", "trojan", "vless", "--certificate", "/c", "--private-key", "/k"], "same port"),
        (["--protocol", "shadowsocks", "trojan", "--port", "1"], "single protocol"),
        (["--protocol", "shadowsocks", "--sources", "7"], "There is no source 7"),
        (["--protocol", "shadowsocks", "--sources", "x"], "--sources takes"),
        (["--protocol", "shadowsocks", "--host", "a b"], "host"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_and_leaves_nothing_behind(
    arguments: list[str], sentence: str
) -> None:
    assert sentence in refused(*arguments)


def test_tcp_and_udp_may_share_a_port_number() -> None:
    create("--protocol", "trojan", "hysteria2", "--certificate", "/c", "--private-key", "/k")
    assert Gateway.objects.get().inbounds.count() == 2


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 65, "ü"])
def test_a_name_that_is_no_name_of_a_meter_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match="NAME takes"):
        call_command("create_gateway", name, host="gw.example.com", protocol=["shadowsocks"])


def test_a_second_gateway_of_the_same_name_is_refused() -> None:
    create("--protocol", "shadowsocks")
    with pytest.raises(CommandError, match="already"):
        create("--protocol", "shadowsocks")
    assert ApiKey.objects.count() == 1


def test_the_audit_trail_tells_who_made_it_and_no_secret() -> None:
    lines = create("--protocol", "shadowsocks")
    made = Gateway.objects.get()
    entry = AuditEntry.objects.get(target_kind="gateways.gateway")
    told: Any = f"{entry.author} {entry.target_name} {entry.changes}"
    assert entry.author == "create_gateway"
    assert made.secret not in told
    assert lines[-1] not in told
