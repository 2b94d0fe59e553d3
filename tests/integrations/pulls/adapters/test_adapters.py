"""Each adapter: what it asks, and what it makes of answers."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.pulls.adapters import ADAPTERS
from integrations.pulls.adapters.asking import (
    MAX_TOTAL,
    Account,
    BadAnswerError,
    Found,
    Get,
    Inbound,
    SignIn,
    Way,
    born,
    total,
)
from tests.integrations.pulls.talking import recorded, talk

TOKEN = b'{"access_token": "t0k3n", "token_type": "bearer"}'
BEARER = {"Authorization": "Bearer t0k3n"}
MADE = 1768469432


def figures(found: Found) -> dict[str, tuple[int, int]]:
    return {account.name: (account.upload, account.download) for account in found.accounts}


# --- 3x-ui -------------------------------------------------------------------


def test_3x_ui_tells_up_and_down_of_each_client_and_its_inbound() -> None:
    asked, found = talk("3x-ui", Way.KEY, [recorded("3x-ui_list")])
    path = "/panel/api/inbounds/list"
    assert asked == [Get(path, {}, {"Authorization": "Bearer s3cr3t"})]
    assert figures(found) == {"alice": (1048576, 2097152), "bob@home": (0, 0), "carol": (5, 7)}
    inbounds = {account.name: account.inbound for account in found.accounts}
    assert inbounds == {
        "alice": Inbound(443, "vless"),
        "carol": Inbound(8443, "trojan"),
        "bob@home": None,  # of two inbounds
    }


def test_3x_ui_2_is_signed_in_to() -> None:
    asked, found = talk("3x-ui", Way.LOGIN, [b'{"success": true}', recorded("3x-ui_list")])
    assert asked == [
        SignIn("/login", {"username": "admin", "password": "s3cr3t"}),
        Get("/panel/api/inbounds/list"),
    ]
    assert len(found.accounts) == 3


def test_3x_ui_says_that_the_password_is_wrong_with_status_200() -> None:
    with pytest.raises(BadAnswerError, match="sign_in"):
        talk("3x-ui", Way.LOGIN, [b'{"success": false, "msg": "Wrong username or password"}'])


def test_3x_ui_that_does_not_succeed_is_no_empty_list() -> None:
    with pytest.raises(BadAnswerError):
        talk("3x-ui", Way.KEY, [b'{"success": false, "msg": "x", "obj": null}'])


def test_a_client_of_two_inbounds_of_3x_ui_counts_once() -> None:
    inbound = {"port": 1, "protocol": "vless", "clientStats": [{"email": "a", "up": 1, "down": 2}]}
    other = {**inbound, "port": 2}
    _, found = talk("3x-ui", Way.KEY, [list_of(inbound, other)])
    assert figures(found) == {"a": (1, 2)}


def test_an_inbound_of_3x_ui_that_makes_no_sense_hides_no_other() -> None:
    good = {"port": 1, "protocol": "vless", "clientStats": [{"email": "a", "up": 1, "down": 2}]}
    _, found = talk("3x-ui", Way.KEY, [list_of({"port": "x"}, good, 5)])
    assert (figures(found), found.unreadable) == ({"a": (1, 2)}, 2)


def list_of(*inbounds: Any) -> bytes:
    return json.dumps({"success": True, "obj": inbounds}).encode()


# --- Marzban and its relatives -----------------------------------------------


def test_marzban_tells_the_lifetime_total_of_each_user() -> None:
    asked, found = talk("marzban", Way.LOGIN, [TOKEN, recorded("marzban_users")])
    query: dict[str, int | str] = {"offset": 0, "limit": 200, "sort": "created_at"}
    assert asked == [
        SignIn("/api/admin/token", {"username": "admin", "password": "s3cr3t"}),
        Get("/api/users", query, BEARER),
    ]
    assert found.accounts == [
        Account("alice", "alice", 0, 5000000000000, is_lifetime=True, born=MADE),
        Account("bob", "bob", 0, 0, is_lifetime=True, born=MADE),
    ]


def test_marzban_is_asked_for_page_after_page() -> None:
    user = json.loads(recorded("marzban_info"))
    full = {"users": [{**user, "username": f"user{number}"} for number in range(200)]}
    pages = [json.dumps(full).encode(), recorded("marzban_users")]
    asked, found = talk("marzban", Way.LOGIN, [TOKEN, *pages])
    assert [get.query["offset"] for get in asked[1:] if isinstance(get, Get)] == [0, 200]
    assert len(found.accounts) == 202


def test_a_user_who_comes_on_two_pages_counts_once() -> None:
    user = json.loads(recorded("marzban_info"))
    pages = [json.dumps({"users": [user] * 200}).encode(), json.dumps({"users": [user]}).encode()]
    _, found = talk("marzban", Way.LOGIN, [TOKEN, *pages])
    assert figures(found) == {"alice": (0, 5000000000000)}


def test_a_list_that_never_ends_is_cut_off() -> None:
    user = json.loads(recorded("marzban_info"))
    page = json.dumps({"users": [user] * 200}).encode()
    with pytest.raises(BadAnswerError, match="too_many_people"):
        talk("marzban", Way.LOGIN, [TOKEN] + [page] * 1000)


def test_pasarguard_is_read_with_a_key() -> None:
    asked, found = talk("pasarguard", Way.KEY, [recorded("pasarguard_users")])
    (get,) = asked
    assert isinstance(get, Get)
    assert (get.path, get.headers) == ("/api/users", {"X-Api-Key": "s3cr3t"})
    assert figures(found) == {"alice": (0, 123456789), "bob": (0, 0)}
    assert found.accounts[0].born == MADE


def test_marzneshin_counts_its_pages_from_1() -> None:
    asked, found = talk("marzneshin", Way.LOGIN, [TOKEN, recorded("marzneshin_users")])
    assert asked == [
        SignIn("/api/admins/token", {"username": "admin", "password": "s3cr3t"}),
        Get("/api/users", {"page": 1, "size": 100}, BEARER),
    ]
    assert figures(found) == {"alice": (0, 42), "bob": (0, 0)}


@pytest.mark.parametrize(
    ("kind", "used"), [("marzban", 5000000000000), ("pasarguard", 123456789), ("marzneshin", 42)]
)
def test_a_link_of_this_family_tells_the_lifetime_total_of_one_person(kind: str, used: int) -> None:
    asked, found = talk(kind, Way.LINK, [recorded(f"{kind}_info")])
    assert asked == [Get("/info")]
    assert found.accounts == [Account("alice", "alice", 0, used, is_lifetime=True, born=MADE)]


# --- Remnawave ---------------------------------------------------------------


def test_remnawave_is_asked_by_its_cursor() -> None:
    pages = [recorded("remnawave_users_1"), recorded("remnawave_users_2")]
    asked, found = talk("remnawave", Way.KEY, pages)
    queries = [get.query for get in asked if isinstance(get, Get)]
    assert queries == [{"size": 500}, {"size": 500, "cursor": "2"}]
    assert figures(found) == {"alice": (0, 9007199254740991), "bob": (0, 0), "carol": (0, 2)}
    assert found.accounts[0].key.startswith("6c1f0d3e-")


@pytest.mark.parametrize(
    ("ids", "key"),
    [
        ({"uuid": "6c1f0d3e", "id": 7, "shortUuid": "abc"}, "6c1f0d3e"),
        ({"id": 7, "shortUuid": "abc", "vlessUuid": "9f"}, "7"),
        ({"uuid": None, "id": 7}, "7"),
        ({"id": 0, "shortUuid": "abc"}, "0"),
        ({"shortUuid": "abc"}, "abc"),
    ],
)
def test_users_of_remnawave_go_by_the_most_permanent_id(ids: dict[str, Any], key: str) -> None:
    """Version 3 tells no ``uuid`` any more."""
    row = {"username": "alice", "userTraffic": {"lifetimeUsedTrafficBytes": 5}, **ids}
    _, found = talk("remnawave", Way.KEY, [json.dumps({"response": {"users": [row]}}).encode()])
    assert [(account.key, account.download) for account in found.accounts] == [(key, 5)]


def test_a_user_of_remnawave_without_any_id_is_unreadable() -> None:
    row = {"username": "alice", "userTraffic": {"lifetimeUsedTrafficBytes": 5}}
    _, found = talk("remnawave", Way.KEY, [json.dumps({"response": {"users": [row]}}).encode()])
    assert (found.accounts, found.unreadable) == ([], 1)


def test_a_cursor_of_remnawave_that_goes_in_circles_ends() -> None:
    page = recorded("remnawave_users_1")
    asked, _ = talk("remnawave", Way.KEY, [page, page])
    assert len(asked) == 2


def test_a_link_of_remnawave_tells_numbers_as_text() -> None:
    asked, found = talk("remnawave", Way.LINK, [recorded("remnawave_info")])
    assert asked == [Get("/info")]
    assert found.accounts == [Account("short1", "alice", 0, 132070244352, is_lifetime=True)]


# --- Hiddify -----------------------------------------------------------------


def test_hiddify_tells_gigabytes_of_the_present_period() -> None:
    asked, found = talk("hiddify", Way.KEY, [recorded("hiddify_users")])
    assert asked == [Get("/api/v2/admin/user/", {}, {"Hiddify-API-Key": "s3cr3t"})]
    alice = found.accounts[0]
    assert (alice.name, alice.download) == ("alice", 3 * 2**29)
    assert not alice.is_lifetime


def test_people_of_hiddify_who_share_a_name_or_have_none_go_by_their_id() -> None:
    _, found = talk("hiddify", Way.KEY, [recorded("hiddify_users")])
    names = {account.name for account in found.accounts[1:]}
    assert names == {f"{n:08}-aaaa-4bbb-8ccc-dddddddddddd" for n in (2, 3, 4)}


def test_a_link_of_hiddify_tells_of_its_person() -> None:
    asked, found = talk("hiddify", Way.LINK, [recorded("hiddify_me")])
    assert asked == [Get("/api/v2/user/me/")]
    assert figures(found) == {"alice": (0, 3 * 2**29)}


@pytest.mark.parametrize("end", ["", "/", "/auto/", "/sub/?asn=x", "/#alice"])
def test_a_link_of_hiddify_is_cut_after_the_id(end: str) -> None:
    link = "https://panel.example.com/secret/00000001-aaaa-4bbb-8ccc-dddddddddddd"
    assert ADAPTERS["hiddify"].base_of(link + end) == link


# --- All ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_adapter_may_ask_for_its_paths_alone(kind: str) -> None:
    adapter = ADAPTERS[kind]
    for path in (
        "/api/user/alice",
        "/api/users/reset",
        "/panel/api/inbounds/add",
        "/logout",
        "/x/info",
    ):
        assert not adapter.may_ask(Get(path))
        assert not adapter.may_ask(SignIn(path, {}))


@pytest.mark.parametrize("kind", ["pasarguard", "remnawave", "hiddify"])
def test_an_adapter_with_keys_never_posts(kind: str) -> None:
    assert ADAPTERS[kind].sign_in == ""
    assert not ADAPTERS[kind].may_ask(SignIn("", {}))


FIRST: dict[str, Callable[[Any], Any]] = {
    "3x-ui": lambda rows: {"success": True, "obj": [{"clientStats": rows}]},
    "pasarguard": lambda rows: {"users": rows},
    "remnawave": lambda rows: {"response": {"users": rows}},
    "hiddify": lambda rows: rows,
}
ROW: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "3x-ui": lambda name, used: {"email": name, "up": 0, "down": used},
    "pasarguard": lambda name, used: {"username": name, "lifetime_used_traffic": used},
    "remnawave": lambda name, used: {
        "uuid": "u", "username": name, "userTraffic": {"lifetimeUsedTrafficBytes": used},
    },
    "hiddify": lambda name, used: {"uuid": "u", "name": name, "current_usage_GB": used},
}  # fmt: skip
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers()
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", FIRST)
@given(name=ANYTHING, used=ANYTHING)
def test_whatever_a_row_holds_it_is_read_or_counted_as_unreadable(
    kind: str, name: Any, used: Any
) -> None:
    row = ROW[kind](name, used)
    good = ROW[kind]("good", 1)
    if kind in {"remnawave", "hiddify"}:
        good["uuid"] = "other"
    body = json.dumps(FIRST[kind]([row, good])).encode()
    _, found = talk(kind, Way.KEY, [body])
    assert "good" in figures(found) or name == "good"
    assert len(found.accounts) + found.unreadable == 2 or name == "good"
    for account in found.accounts:
        assert 1 <= len(account.name) <= 255
        assert account.name.isprintable()
        assert 0 <= account.download <= MAX_TOTAL


@pytest.mark.parametrize("kind", FIRST)
@given(body=st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_answer_is_it_is_a_list_or_a_bad_answer(kind: str, body: bytes) -> None:
    try:
        _, found = talk(kind, Way.KEY, [body] * 3)
    except BadAnswerError as error:
        assert error.code == "bad_answer"
    else:
        assert found.accounts == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b'{"users": 5}', b"[" * 100_000])
@pytest.mark.parametrize("way", [Way.LOGIN, Way.LINK])
def test_marzban_that_answers_something_else_is_a_bad_answer_or_tells_of_nobody(
    way: Way, body: bytes
) -> None:
    try:
        _, found = talk("marzban", way, [body])
    except BadAnswerError:
        pass
    else:
        assert found == Found([], 1)


@pytest.mark.parametrize("value", [0, 1, MAX_TOTAL, "0", "12", 5.0])
def test_a_total_may_be_written_in_several_ways(value: Any) -> None:
    assert total(value) == int(value)


@pytest.mark.parametrize(
    "value",
    [-1, MAX_TOTAL + 1, "-1", "1e3", "", " 1", "١", 0.5, math.nan, math.inf, True, None, [], "9" * 20],
)  # fmt: skip
def test_what_is_no_total(value: Any) -> None:
    with pytest.raises(ValueError):
        total(value)


@pytest.mark.parametrize("text", ["2026-01-15T09:30:32", "2026-01-15T09:30:32.222560Z"])
def test_a_time_without_a_zone_is_in_utc(text: str) -> None:
    assert born(text) == MADE


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-40T00:00:00", "0001-01-01T00:00:00+23:59"]
)
def test_what_is_no_time_is_unknown(text: str) -> None:
    assert born(text) == 0
