"""The node of a PasarGuard over both of its transports, asked as its panel asks: messages written by hand from its .proto."""

import http.client
import socket
import ssl
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from django.utils import timezone
from pytest_django import Settings
from rest_framework.exceptions import AuthenticationFailed

from integrations.marzban import (
    admin_tokens,
    authentication,
    certificates,
    link_certificates,
    linking,
    marks,
    node_keys,
    own_node,
    pasarguard_wire,
    people,
    subscription_tokens,
)
from integrations.marzban.conf import conf
from integrations.marzban.linking import Account, Wanted
from integrations.marzban.models import HandOver, PanelIdentity, PanelLink
from integrations.marzban.running import RunningNode
from integrations.marzban.wire import Person, WireError, fields_of, varint
from operations.audit import By
from tests.integrations.marzban.conftest import Start
from tests.integrations.marzban.panel import as_json, running_panel
from tests.integrations.marzban.panel_api import PASSWORD, running_api
from tests.integrations.marzban.test_node import until, uses
from traffic.models import Subscriber

Call = Callable[[str, bytes], bytes]
_PATHS = {
    "Start": ("POST", "/start"), "Stop": ("PUT", "/stop"), "GetBaseInfo": ("GET", "/info"),
    "GetStats": ("GET", "/stats"), "GetSystemStats": ("GET", "/stats/system"), "GetBackendStats": ("GET", "/stats/backend"),
    "SyncUser": ("PUT", "/user/sync"), "SyncUsers": ("PUT", "/users/sync"),
}  # fmt: skip
USERS_STAT, OUTBOUNDS_STAT = b"\x10\x01\x18\x04", b"\x10\x01"
PATIENCE = 60


class RefusedError(Exception):
    """``code``: a status of HTTP, or the name of one of gRPC."""

    def __init__(self, code: object) -> None:
        super().__init__(code)
        self.code = code


def field(number: int, content: bytes | str) -> bytes:
    found = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(found)) + found


def user(user_id: object, *inbounds: str) -> bytes:
    credentials = field(2, field(2, field(1, "8586425c-secret")))
    return field(1, str(user_id)) + credentials + b"".join(field(3, tag) for tag in inbounds)


def backend(*users: bytes) -> bytes:
    return field(2, '{"inbounds": []}') + b"".join(field(3, one) for one in users) + b"\x20\x3c"


def stats(answer: bytes) -> list[tuple[str, str, str, int]]:
    found = []
    for _, entry in fields_of(answer):
        assert isinstance(entry, bytes)
        name, kind, link, value = (part for _, part in fields_of(entry))
        assert isinstance(name, bytes)
        assert isinstance(kind, bytes)
        assert isinstance(link, bytes)
        assert isinstance(value, int)
        found.append((name.decode(), kind.decode(), link.decode(), value))
    return found


@pytest.fixture
def link(transactional_db: None) -> PanelLink:
    return PanelLink.objects.create(name="PasarGuard", kind="pasarguard", url="http://127.0.0.1:1")


@pytest.fixture
def key(link: PanelLink) -> str:
    return node_keys.renew(link)


@pytest.fixture
def running(link: PanelLink, key: str, start: Start) -> RunningNode:
    return start(link)


class Client:
    """``context``: checks the host name, as PasarGuard does."""

    def __init__(self, link: PanelLink, key: str | None) -> None:
        self.pem = link_certificates.of(link).certificate.read_text()
        self.key = key


class OverGrpc(Client):
    def __call__(self, name: str, message: bytes = b"") -> bytes:
        metadata = [("x-api-key", self.key)] if self.key else []
        place = f"127.0.0.1:{conf.node_api.port}"
        with grpc.secure_channel(place, grpc.ssl_channel_credentials(self.pem.encode())) as channel:
            method = f"/service.NodeService/{name}"
            try:
                if name.startswith("SyncUser") and name != "SyncUsers":
                    call = channel.stream_unary(method)
                    return call(iter([message]), timeout=PATIENCE, metadata=metadata)  # type: ignore[no-any-return]
                call = channel.unary_unary(method)
                return call(message, timeout=PATIENCE, metadata=metadata)  # type: ignore[no-any-return]
            except grpc.RpcError as error:
                raise RefusedError(error.code().name) from None

    REFUSALS = ("UNAUTHENTICATED", "INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAVAILABLE")


class OverHttps(Client):
    REFUSALS = (401, 422, 403, 503)

    def __call__(self, name: str, message: bytes = b"") -> bytes:
        method, path = _PATHS[name]
        return self.ask(method, path, message)

    def ask(self, method: str, path: str, body: Any) -> bytes:
        context = ssl.create_default_context(cadata=self.pem)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", conf.node_listen.port, timeout=PATIENCE, context=context
        )
        headers = {"Content-Type": "application/x-protobuf"}
        connection.request(
            method, path, body, headers | ({"x-api-key": self.key} if self.key else {}),
            encode_chunked=not isinstance(body, bytes),
        )  # fmt: skip
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200:
            raise RefusedError(response.status)
        return answer


@pytest.fixture(params=[OverGrpc, OverHttps])
def client(
    request: pytest.FixtureRequest, link: PanelLink, key: str, running: RunningNode
) -> Client:
    found: Client = request.param(link, key)
    return found


def known(*ids: int) -> bool:
    active = PanelIdentity.objects.filter(closed_at=None, is_active=True)
    return set(active.values_list("user_id", flat=True)) == set(ids)


def started(client: Client, *ids: int) -> None:
    assert callable(client)
    client("Start", backend(*(user(pk, "a", "b") for pk in ids)))
    until(lambda: known(*ids))


def test_bytes_of_a_user_reach_the_panel(client: Client) -> None:
    assert callable(client)
    started(client, 1, 12)
    uses("12", 700)
    assert stats(client("GetStats", USERS_STAT)) == [("12", "downlink", "traffic", 700)]
    assert client("GetStats", USERS_STAT) == b""
    [entry] = stats(client("GetStats", OUTBOUNDS_STAT))
    assert entry[1:] == ("downlink", "traffic", 700)
    until(lambda: not HandOver.objects.exclude(state="sent").exists())


def test_nothing_is_handed_over_without_a_reset(client: Client) -> None:
    assert callable(client)
    started(client, 1)
    uses("1", 5)
    for _ in range(2):
        assert stats(client("GetStats", b"\x18\x04")) == [("1", "downlink", "traffic", 5)]
        assert [row[3] for row in stats(client("GetStats", b""))] == [5]
    assert client("GetStats", b"\x10\x01\x18\x02") == b""  # inbounds, which we have none of
    assert stats(client("GetStats", USERS_STAT)) == [("1", "downlink", "traffic", 5)]


def test_a_key_is_needed(client: Client, link: PanelLink) -> None:
    assert callable(client)
    kind = type(client)
    started(client, 1)
    uses("1", 5)
    codes = client.REFUSALS  # type: ignore[attr-defined]
    for wrong, code in zip((None, "no-uuid", str(uuid.uuid4())), codes, strict=False):
        for name, message in (("GetStats", USERS_STAT), ("Start", backend()), ("GetBaseInfo", b"")):
            with pytest.raises(RefusedError) as refused:
                kind(link, wrong)(name, message)
            assert refused.value.code == code
    renewed = node_keys.renew(PanelLink.objects.get())
    with pytest.raises(RefusedError):
        client("GetStats", USERS_STAT)
    client.key = renewed
    assert stats(client("GetStats", USERS_STAT))


def test_nothing_is_answered_before_the_start(client: Client) -> None:
    assert callable(client)
    assert client("GetBaseInfo") == b"\x12\x051.0.0\x1a\x050.5.2"
    for name, message in (("GetStats", USERS_STAT), ("GetBackendStats", b"")):
        with pytest.raises(RefusedError) as refused:
            client(name, message)
        assert refused.value.code == client.REFUSALS[3]  # type: ignore[attr-defined]
    assert client("Start", backend()).startswith(b"\x08\x01\x12")
    assert client("GetBackendStats").startswith(b"\x08\x01")
    assert client("GetSystemStats").startswith(b"\x08")
    client("Stop")
    with pytest.raises(RefusedError):
        client("GetStats", USERS_STAT)


def test_a_start_is_a_complete_list_and_a_sync_is_a_change(client: Client) -> None:
    assert callable(client)
    client("Start", backend(user(1, "a"), user(2), user("x", "a"), user("9" * 19, "a")))
    until(lambda: known(1))
    client("SyncUsers", field(1, user(2, "a")) + field(1, user(3, "a")))
    until(lambda: known(1, 2, 3))
    client("SyncUser", user(2))
    until(lambda: known(1, 3))
    assert Subscriber.objects.get(name="2").suspension == "disabled"
    started(client, 2)
    assert Subscriber.objects.get(name="2").suspension == ""
    assert Subscriber.objects.get(name="3").suspension == "disabled"


def test_users_come_in_chunks(link: PanelLink, key: str, running: RunningNode) -> None:
    def chunks() -> Iterator[bytes]:
        for ids in ((1, 2), (3,)):
            message = b"".join(field(1, user(pk, "a")) for pk in ids) + b"\x18\x01"
            yield varint(len(message)) + message

    https = OverHttps(link, key)
    https("Start", backend())
    assert https.ask("PUT", "/users/sync/chunked", chunks()) == b""
    until(lambda: known(1, 2, 3))
    for body in (b"\x05\x0a", b"\xff" * 6):
        with pytest.raises(RefusedError) as refused:
            https.ask("PUT", "/users/sync/chunked", body)
        assert refused.value.code == 400
    grpc_client = OverGrpc(link, key)
    message = b"".join(field(1, user(pk)) for pk in (1, 2, 3))
    grpc_client("SyncUsersChunked", message)
    until(lambda: known())


@pytest.mark.parametrize("size", [b"-1", b"0x5", b"1_0", b"", b"fffffffff"])
def test_a_chunk_of_no_size_is_refused_without_waiting_for_more(
    link: PanelLink, key: str, running: RunningNode, size: bytes
) -> None:
    answer = sent(link, key, b"PUT /users/sync/chunked", size + b"\r\nabc")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_the_body_of_a_stranger_is_not_read(
    link: PanelLink, key: str, running: RunningNode
) -> None:
    for wrong in ("", str(uuid.uuid4())):
        answer = sent(link, wrong, b"POST /start", b"4000000\r\nabc")
        assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 403 "))


def test_a_full_disk_is_said_over_https(
    link: PanelLink, key: str, running: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    https = OverHttps(link, key)
    started(https, 1)
    uses("1", 5)
    with monkeypatch.context() as patched:
        patched.setattr(marks, "write", full)
        with pytest.raises(RefusedError) as refused:
            https("GetStats", USERS_STAT)
    assert refused.value.code == 503
    assert stats(https("GetStats", USERS_STAT)) == [("1", "downlink", "traffic", 5)]


def sent(link: PanelLink, key: str, line: bytes, chunks: bytes) -> bytes:
    """What the node answers to the beginning of a body in chunks, while the connection stays open."""
    context = ssl.create_default_context(cadata=link_certificates.of(link).certificate.read_text())
    place = "127.0.0.1", conf.node_listen.port
    with (
        socket.create_connection(place, timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        head = line + b" HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n"
        name = f"x-api-key: {key}\r\n\r\n".encode() if key else b"\r\n"
        secure.sendall(head + name + chunks)
        return secure.recv(1024)


def test_what_is_no_message_is_refused(client: Client) -> None:
    assert callable(client)
    for broken in (b"\xff", b"\x1a\xff\xff", b"\x0a\x02\xff\xff\x1a"):
        with pytest.raises(RefusedError):
            client("Start", broken)
    assert client("GetBaseInfo")


def test_an_unknown_path_is_refused(link: PanelLink, key: str, running: RunningNode) -> None:
    with pytest.raises(RefusedError) as refused:
        OverHttps(link, key).ask("GET", "/routing/rules", b"")
    assert refused.value.code == 404
    with pytest.raises(RefusedError) as refused:
        OverGrpc(link, key)("AddRoutingRule")
    assert refused.value.code == "UNIMPLEMENTED"


def test_the_certificate_bears_the_address_of_the_node(link: PanelLink) -> None:
    link.node_address = "node.example.com"
    own = link_certificates.of(link)
    assert own != certificates.own()
    assert link_certificates.of(link) == own
    assert len(own.certificate.read_text()) <= 2048  # the most that the panel takes
    assert own.key.stat().st_mode & 0o077 == 0


def test_the_panels_list_gives_people_their_names(link: PanelLink) -> None:
    now = timezone.now()
    people.came(link, [Person(1, "1"), Person(2, "2")], now)
    people.name(link, {1: "alice", 2: "bob", 3: "carol"}, now)
    assert set(Subscriber.objects.values_list("name", flat=True)) == {"alice", "bob"}
    people.came(link, [Person(1, "1")], now)
    assert Subscriber.objects.count() == 2
    assert people.active(link) == {Person(1, "1"), Person(2, "2")}
    people.name(link, {1: "dave"}, now)  # the id went to somebody else
    assert PanelIdentity.objects.filter(user_id=1, closed_at=None).count() == 0
    assert not Subscriber.objects.get(name="alice").is_active


def test_a_value_that_the_panel_cannot_take_is_never_written() -> None:
    for value in (0, -1):
        with pytest.raises(WireError):
            pasarguard_wire.user_stat(1, "", value)


# --- Tokens and set-up -----------------------------------------------------------


def v3_token(user_id: int = 12, signature: str = "s" * 43) -> str:
    payload = urlsafe_b64encode(f"v3,{user_id},1795977030".encode()).decode().rstrip("=")
    return f"{payload}.{signature}"


def test_a_subscription_token_names_a_user_by_the_id(link: PanelLink, settings: Settings) -> None:
    people.came(link, [Person(12, "12")], timezone.now())
    with running_panel() as panel:
        PanelLink.objects.update(url=panel.url, signs_in=True)
        panel.serves(v3_token(12), "alice", id=12)
        panel.serves(v3_token(13), "bob", id=13)
        assert (
            subscription_tokens.own_token(v3_token(12)) == Subscriber.objects.get(name="12").token
        )
        assert (
            subscription_tokens.own_token(v3_token(13)) == Subscriber.objects.get(name="bob").token
        )
        assert subscription_tokens.own_token(v3_token(14)) is None
    people.came(link, [Person(13, "13")], timezone.now())
    assert PanelIdentity.objects.get(user_id=13).username == "bob"
    assert Subscriber.objects.count() == 2


@pytest.mark.parametrize("token", ["alice", "v3,12,1795977030", v3_token(signature="s"), "a.b"])
def test_what_the_panel_never_made_is_no_subscription_token(token: str) -> None:
    assert not subscription_tokens.is_subscription_token(token)


@pytest.mark.parametrize(("role", "scope"), [({"is_owner": True}, "manage"), ({}, "")])
def test_an_api_key_is_checked_at_the_panel(
    link: PanelLink, role: dict[str, bool], scope: str, settings: Settings
) -> None:
    admin_tokens.forget_all()
    key = "pg_key_11111111-2222-4333-8444-555555555555"
    with running_panel() as panel:
        PanelLink.objects.update(url=panel.url, signs_in=True)
        panel.replies[key] = as_json(200, {"username": "ann", "role": {"name": "x", **role}})
        found = authentication.bearer(key)
        assert found
        assert found.scope == scope
        with pytest.raises(AuthenticationFailed):
            authentication.bearer("pg_key_ffffffff-2222-4333-8444-555555555555")
    assert authentication.bearer("xp_key_of_ours_123456789") is None


def test_connecting_makes_a_key_and_a_node(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_node, "wait", lambda _: None)
    with running_api("") as api:
        api.is_pasarguard = True
        wanted = Wanted(url=api.url, account=Account("admin", PASSWORD), node_address="10.0.0.7")
        made = linking.connect(wanted, By("ann", timezone.now())).link
        [node] = api.nodes
        assert (node["connection_type"], node["core_config_id"]) == ("grpc", 3)
        assert (node["address"], node["port"]) == ("10.0.0.7", conf.node_api.port)
        made.refresh_from_db()
        assert node_keys.is_right(made.node_key, node["api_key"])
        assert node["server_ca"] == link_certificates.of(made).certificate.read_text()
        assert not linking.connect(wanted, By("ann", timezone.now())).is_new
        linking.disconnect(api.url, Account("admin", PASSWORD), By("ann", timezone.now()))
        assert not api.nodes
