import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.traffic.examples import NOW, wire
from traffic import reports
from traffic.reports import Decoded, InvalidReport, Report

SECOND = timedelta(seconds=1)
LONG_NAME = ".".join(["a" * 49] * 5)  # 249 characters


def decoded(body: Any, **options: Any) -> Decoded:
    return reports.decode(json.dumps(body).encode(), NOW, **options)


def read(**fields: Any) -> Report:
    found = decoded(wire(**fields))
    assert not found.rejected, found.rejected
    return found.reports[0]


def blamed(**fields: Any) -> list[str]:
    """The fields that a refusal names."""
    found = decoded(wire(**fields))
    assert not found.reports
    return list(found.rejected[0])


def blamed_in(body: str) -> list[str]:
    return list(reports.decode(body.encode(), NOW).rejected[0])


def with_raw(field: str, raw: str) -> str:
    """The guide's report with a value as it stands in the JSON, which ``json`` would not write."""
    return json.dumps(wire(**{field: "@"})).replace('"@"', raw)


def test_it_reads_the_report_of_the_guide() -> None:
    assert read() == Report(
        "user123", "vpn.example.com", 443, "vless", 1048576, 2097152, int(NOW.timestamp())
    )


@pytest.mark.parametrize("field", ["user_token", "server", "port", "protocol"])
def test_it_names_a_missing_field(field: str) -> None:
    body = wire()
    del body[field]
    assert decoded(body).rejected == {0: {field: ["This field is required."]}}


@pytest.mark.parametrize(
    "field", ["user_token", "server", "port", "protocol", "bytes_uploaded", "bytes_downloaded"]
)
def test_null_is_refused_for_traffic_fields(field: str) -> None:
    assert blamed(**{field: None}) == [field]


def test_null_counts_as_absent_for_the_optional_two() -> None:
    found = read(event_id=None, timestamp=None)
    assert (found.event_id, found.moment) == ("", int(NOW.timestamp()))


def test_missing_bytes_count_as_zero() -> None:
    body = wire()
    del body["bytes_uploaded"], body["bytes_downloaded"]
    found = decoded(body).reports[0]
    assert (found.upload, found.download) == (0, 0)


def test_it_ignores_unknown_fields() -> None:
    assert read(total=5, nested={"user_token": [None]}, Port=1) == read()


def test_the_last_of_two_equal_keys_counts() -> None:
    body = json.dumps(wire())[:-1] + ', "port": 8443}'
    assert reports.decode(body.encode(), NOW).reports[0].port == 8443


# --- user_token --------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["a", "Z", "0", "a" * 255, "A-Za-z0-9._~@:=+-", "...", "Global", "+", "user:1@x=y"]
)
def test_it_accepts_a_token(token: str) -> None:
    assert reports.is_token(token)
    assert read(user_token=token).user_token == token


@pytest.mark.parametrize(
    "token",
    [
        "", "a" * 256, "a b", " a", "a ", "a\n", "\n", "a/b", "a%20", "a?b", "a#b", "a&b", "a,b", "a;b", "a'b", 'a"b',
        "a\\b", "<a>", "a|b", "a\x00b", "\u212a", "е", "ａ", "١", "é", "a\u200b", "{}", "$", "*", "(", "!",
    ],
)  # fmt: skip
def test_it_refuses_a_token(token: str) -> None:
    assert not reports.is_token(token)
    assert blamed(user_token=token) == ["user_token"]


@pytest.mark.parametrize("token", ["global", "server", "database", "cleanup", ".", ".."])
def test_it_refuses_a_reserved_token(token: str) -> None:
    assert not reports.is_token(token)
    assert decoded(wire(user_token=token)).rejected == {
        0: {"user_token": ["This token is reserved."]}
    }


@pytest.mark.parametrize("token", [5, 1.5, True, [], {}, ["a"]])
def test_a_token_is_text(token: object) -> None:
    assert blamed(user_token=token) == ["user_token"]


# --- server ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("vpn.example.com", "vpn.example.com"),
        ("VPN.Example.COM", "vpn.example.com"),
        ("vpn.example.com.", "vpn.example.com"),
        ("localhost", "localhost"),
        ("a", "a"),
        ("a_b.example", "a_b.example"),
        ("1a.example", "1a.example"),
        ("xn--e1afmkfd.XN--P1AI", "xn--e1afmkfd.xn--p1ai"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("ПРИМЕР.РФ.", "xn--e1afmkfd.xn--p1ai"),
        ("faß.de", "xn--fa-hia.de"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("\u212aelvin.example", "kelvin.example"),
        ("ｖｐｎ.example", "vpn.example"),
        ("a\uff0eexample", "a.example"),
        ("a\u3002example", "a.example"),
        ("a\u00adb.example", "ab.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1.", "192.0.2.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("１９２.０.２.１", "192.0.2.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("::FFFF:192.0.2.1", "192.0.2.1"),
        ("[::ffff:c000:201]", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("::", "::"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (LONG_NAME + ".abc", LONG_NAME + ".abc"),  # 253
        (LONG_NAME + ".abc.", LONG_NAME + ".abc"),
    ],
)
def test_it_keeps_a_server_in_one_form(given_name: str, kept: str) -> None:
    assert read(server=given_name).server == kept


@pytest.mark.parametrize(
    "name", ["vpn.example.com", "xn--e1afmkfd.xn--p1ai", "2001:db8::1", "192.0.2.1"]
)
def test_the_form_in_which_a_server_is_kept_is_stable(name: str) -> None:
    assert reports.normalised_server(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "a..b", ".a", "a..", " a", "a ", "a\n", "a b", "a\x00b", "-a.example", "a-.example",
        "a" * 64 + ".example", LONG_NAME + ".abcd", "http://a", "a/b", "a@b", "a:443", "192.0.2.1:443", "[::1]:443",
        "[::1", "::1]", "[192.0.2.1]", "[a.example]", "[]", "[", ":", ":::", "1::2::3", "::1.", "fe80::1%eth0", "::1/64",
        "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.-4", "0x7f.1", "1", "127.1", "a.1", "１::1", "٣.example ",
        "a\u200db.example", "a_b.пример", "☃", "\u00ad", "℀.example", "*.example", "a,b", "a" * 1025, "é" * 64,
        "a.example" + "\u00ad" * 600 + "b.example",
    ],
)  # fmt: skip
def test_it_refuses_a_server(name: str) -> None:
    assert blamed(server=name) == ["server"]


@pytest.mark.parametrize("name", [5, True, None, ["a"], {}])
def test_a_server_is_text(name: object) -> None:
    assert blamed(server=name) == ["server"]


# --- port --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "kept"),
    [(1, 1), (65535, 65535), ("1", 1), ("443", 443), ("65535", 65535), ("00443", 443)],
)
def test_it_accepts_a_port(port: object, kept: int) -> None:
    assert read(port=port).port == kept


@pytest.mark.parametrize(
    "port",
    [
        0, -1, 65536, 10**30, -(10**30), True, False, 443.0, 443.5, "", "0", "65536", "000443", "-1", "+443", " 443", "443 ",
        "443\n", "443.0", "4e2", "0x1bb", "４４３", "٤٤٣", "²", "1_0", [443], {"port": 443},
    ],
)  # fmt: skip
def test_it_refuses_a_port(port: object) -> None:
    assert blamed(port=port) == ["port"]


@pytest.mark.parametrize(
    "raw", ["443.0", "4.43e2", "1e400", "-0.0", "9" * 5000, "443e0", "18446744073709552059"]
)
def test_it_refuses_a_port_that_is_not_a_json_integer(raw: str) -> None:
    assert blamed_in(with_raw("port", raw)) == ["port"]


# --- protocol ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "kept"),
    [
        ("vless", "vless"),
        ("VLESS", "vless"),
        ("ss", "shadowsocks"),
        ("SS", "shadowsocks"),
        ("hy2", "hysteria2"),
        ("wg", "wireguard"),
        ("socks5", "socks"),
        ("socks", "socks"),
        ("ss2", "ss2"),
        ("a.b_c+d-e0", "a.b_c+d-e0"),
        ("p" * 32, "p" * 32),
    ],
)
def test_it_keeps_a_protocol_in_one_form(protocol: str, kept: str) -> None:
    assert read(protocol=protocol).protocol == kept


@pytest.mark.parametrize(
    "protocol",
    [
        "",
        "p" * 33,
        "a b",
        "vless\n",
        "a/b",
        "a:b",
        "wireGuar\u0501",
        "\u212a",
        "ｓｓ",
        "é",
        "a\x00",
        5,
        True,
        [],
    ],
)
def test_it_refuses_a_protocol(protocol: object) -> None:
    assert blamed(protocol=protocol) == ["protocol"]


# --- bytes -------------------------------------------------------------------


@pytest.mark.parametrize("field", ["bytes_uploaded", "bytes_downloaded"])
@pytest.mark.parametrize("value", [0, 1, 2**31, 2**50 - 1, 2**50])
def test_it_accepts_bytes(field: str, value: int) -> None:
    found = read(**{field: value})
    assert (found.upload if field == "bytes_uploaded" else found.download) == value


@pytest.mark.parametrize("field", ["bytes_uploaded", "bytes_downloaded"])
@pytest.mark.parametrize(
    "value", [-1, 2**50 + 1, 2**63, 2**64, 10**400, "5", "", True, False, 5.0, 0.5, [], {}]
)
def test_it_refuses_bytes(field: str, value: object) -> None:
    assert blamed(**{field: value}) == [field]


@pytest.mark.parametrize("raw", ["1e3", "1.0", "-0.0", "1e400", "9" * 5000])
def test_it_refuses_bytes_that_are_not_a_json_integer(raw: str) -> None:
    assert blamed_in(with_raw("bytes_uploaded", raw)) == ["bytes_uploaded"]


# --- event_id ----------------------------------------------------------------


@pytest.mark.parametrize(
    "event_id",
    ["a", "!", "~", "x" * 64, "6f1c9d1e-0d5c-4d2f-9f3e-7c0f9a4f8f10", "'; DROP TABLE--"[:2]],
)
def test_it_accepts_an_event_id(event_id: str) -> None:
    assert read(event_id=event_id).event_id == event_id


@pytest.mark.parametrize(
    "event_id",
    ["", "x" * 65, "a b", " ", "a\n", "\x7f", "\x00", "é", "\u212a", 5, True, 1.5, [], {}],
)
def test_it_refuses_an_event_id(event_id: object) -> None:
    assert blamed(event_id=event_id) == ["event_id"]


# --- timestamp ---------------------------------------------------------------


def moment(value: object) -> datetime:
    return datetime.fromtimestamp(read(timestamp=value).moment, UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2024-02-10T18:00:00Z", "2024-02-10T18:00:00+00:00", "2024-02-10T21:00:00+03:00", "2024-02-10T14:30:00-03:30",
        "2024-02-10T18:00:00.999999Z", "20240210T180000Z", "2024-02-10 18:00:00Z", 1707588000, 1707588000.75,
    ],
)  # fmt: skip
def test_it_reads_when_the_traffic_flowed(value: object) -> None:
    assert moment(value) == datetime(2024, 2, 10, 18, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [0, 1, 299, 300])
def test_a_clock_that_runs_a_little_ahead_is_set_back_to_ours(seconds: int) -> None:
    assert moment((NOW + seconds * SECOND).isoformat()) == NOW
    assert moment(NOW.timestamp() + seconds) == NOW


@pytest.mark.parametrize("ahead", [300.001, 301, 86_400, 1e18, 1e308])
def test_it_refuses_a_timestamp_more_than_5_minutes_ahead(ahead: float) -> None:
    assert blamed(timestamp=NOW.timestamp() + ahead) == ["timestamp"]


def test_it_accepts_a_timestamp_31_days_old_and_refuses_older_ones() -> None:
    edge = NOW - timedelta(days=31)
    assert moment(edge.isoformat()) == edge
    assert moment(edge.timestamp()) == edge
    assert blamed(timestamp=(edge - timedelta(microseconds=1000)).isoformat()) == ["timestamp"]
    assert blamed(timestamp=int(edge.timestamp()) - 1) == ["timestamp"]


def test_a_shorter_retention_moves_the_edge() -> None:
    edge = NOW - timedelta(days=7)
    at, before = wire(timestamp=edge.isoformat()), wire(timestamp=(edge - SECOND).isoformat())
    found = decoded([at, before], max_age=timedelta(days=7))
    assert list(found.reports) == [0]
    assert found.rejected == {1: {"timestamp": ["Older than 7 days."]}}


@pytest.mark.parametrize(
    "value",
    [
        "", "now", "2024-02-10", "2024-02-10T18:00:00", "2024-02-30T18:00:00Z", "2024-02-10T25:00:00Z", "1707588000",
        "2024-02-10T18:00:00+24:00", "2024-02-10T18:00:00Z ", "10/02/2024", "2024-02-10T18:00:00 UTC",
        "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
        "-2024-02-10T18:00:00Z", "２０２４-02-10T18:00:00Z", "\x00", 0, -1, -(10**300), 10**300, True, False, [], {},
    ],
)  # fmt: skip
def test_it_refuses_a_timestamp(value: object) -> None:
    assert blamed(timestamp=value) == ["timestamp"]


@pytest.mark.parametrize("raw", ["1e400", "-1e400", "9" * 5000, "1e308", "-1e308"])
def test_it_refuses_a_timestamp_out_of_all_range(raw: str) -> None:
    assert blamed_in(with_raw("timestamp", raw)) == ["timestamp"]


# --- bodies ------------------------------------------------------------------


def test_it_tells_a_single_report_from_a_batch() -> None:
    assert not decoded(wire()).is_batch
    assert decoded([wire()]).is_batch
    assert decoded({"reports": [wire()]}).is_batch


@pytest.mark.parametrize(
    "envelope",
    ["{items}", '{{"reports": {items}}}', " \n\t{items}\r\n", '{{"x": 1, "reports": {items}}}'],
)
def test_it_names_the_bad_reports_of_a_batch_by_their_place(envelope: str) -> None:
    items = json.dumps(
        [
            wire(),
            wire(port=0),
            wire(user_token="other"),
            wire(bytes_uploaded="1"),
            5,
            None,
            "x",
            [],
            {},
        ]
    )
    found = reports.decode(envelope.format(items=items).encode(), NOW)
    assert [report.user_token for report in found.reports.values()] == ["user123", "other"]
    assert list(found.reports) == [0, 2]
    assert {index: list(errors) for index, errors in found.rejected.items()} == {
        1: ["port"],
        3: ["bytes_uploaded"],
        4: ["detail"],
        5: ["detail"],
        6: ["detail"],
        7: ["detail"],
        8: ["user_token"],
    }


def test_one_number_out_of_range_does_not_spoil_a_batch() -> None:
    found = reports.decode(
        f"[{with_raw('timestamp', '1e400')}, {json.dumps(wire())}]".encode(), NOW
    )
    assert (list(found.reports), list(found.rejected)) == ([1], [0])


@pytest.mark.parametrize("half", ["\ud83d", "\ude00", "x\ud800\ud800", "\ude00\ud83d"])
def test_half_a_character_spoils_neither_a_batch_nor_a_report_that_has_it_in_an_unknown_field(
    half: str,
) -> None:
    found = decoded(
        [
            wire(device=half),
            wire(),
            wire(server=half),
            wire(user_token=half),
            wire(event_id=f"e{half}"),
        ]
    )
    assert list(found.reports) == [0, 1]
    assert {index: list(errors) for index, errors in found.rejected.items()} == {
        2: ["server"],
        3: ["user_token"],
        4: ["event_id"],
    }
    assert list(decoded(wire(device=half)).reports) == [0]
    assert list(decoded(wire(event_id=half)).rejected[0]) == ["event_id"]


def test_whole_characters_beside_half_a_one_stay() -> None:
    assert (
        reports.decode(json.dumps(wire(server="пример.рф", x="\ud83d")).encode(), NOW)
        .reports[0]
        .server
        == "xn--e1afmkfd.xn--p1ai"
    )


@pytest.mark.parametrize(
    "body",
    [[], {"reports": []}, {"reports": None}, {"reports": {}}, {"reports": "x"}, {"reports": 1}],
)
def test_it_refuses_a_batch_without_reports(body: object) -> None:
    with pytest.raises(InvalidReport) as refusal:
        decoded(body)
    assert list(refusal.value.errors) == ["reports"]


def test_a_batch_holds_ten_thousand_reports_and_not_one_more() -> None:
    item = json.dumps(wire())
    assert len(reports.decode(f"[{','.join([item] * 10_000)}]".encode(), NOW).reports) == 10_000
    with pytest.raises(InvalidReport, match="10001"):
        reports.decode(f"[{','.join([item] * 10_001)}]".encode(), NOW)
    with pytest.raises(InvalidReport, match="10001"):
        reports.decode(f"[{','.join(['{}'] * 10_001)}]".encode(), NOW)


@pytest.mark.parametrize("body", ["5", "null", '"x"', "true", "1.5"])
def test_json_that_is_not_an_object_is_refused_without_naming_a_field(body: str) -> None:
    assert blamed_in(body) == ["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"[", b"{]", b"user_token=user123", b'{"a": NaN}', b'[Infinity]', b"{'a': 1}", b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00", b'{"user_token": "\xff"}', b'{"user_token": "\\ud800"', b'{"\\ud800": NaN}', b'{"\\ud800": ' + b"9" * 5000 + b"}",
        b"[" * 100_000, b'{"a":' * 100_000,
        b'{"reports":' * 100_000, b'{"user_token": "a", "x": ' + b"[" * 100_000, b"{}{}", b"[]x",
    ],
)  # fmt: skip
def test_invalid_json_raises_a_different_error(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeError, RecursionError)):
        reports.decode(body, NOW)


# --- anything ----------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["global", "vless", "443", "::1"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
report_like = st.fixed_dictionaries(
    {}, optional=dict.fromkeys((*wire(), "event_id", "timestamp", "reports"), anything)
)


def survives(body: bytes) -> Decoded | None:
    """Decodes, or fails in one of the ways that the edge answers with 400."""
    try:
        return reports.decode(body, NOW)
    except (InvalidReport, msgspec.DecodeError, UnicodeError, RecursionError):
        return None


@given(st.binary(max_size=200))
@example(b'{"reports": [')
@example(b"\x00")
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    survives(body)


@given(
    report_like
    | st.lists(report_like, max_size=4)
    | st.fixed_dictionaries({"reports": st.lists(report_like, max_size=4)})
)
def test_any_json_is_decoded_or_refused(body: object) -> None:
    found = survives(json.dumps(body).encode("utf-8", "surrogatepass"))
    if found is not None:
        assert found.reports.keys().isdisjoint(found.rejected)
        assert all(isinstance(errors, dict) and errors for errors in found.rejected.values())


@given(
    st.sampled_from(sorted(wire() | {"event_id": 0, "timestamp": 0})),
    st.text(max_size=300) | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.dates().map(str) | st.datetimes(timezones=st.timezones()).map(str),
)  # fmt: skip
def test_one_field_of_any_kind_is_kept_within_its_rule_or_refused(
    field: str, value: object
) -> None:
    found = survives(json.dumps(wire(**{field: value})).encode("utf-8", "surrogatepass"))
    if found is None or not found.reports:
        return
    report = found.reports[0]
    assert reports.is_token(report.user_token)
    assert report.server == reports.normalised_server(report.server)
    assert report.server.isascii()
    assert len(report.server) <= 253
    assert 1 <= report.port <= 65535
    assert report.protocol == reports.normalised_protocol(report.protocol)
    assert 0 <= min(report.upload, report.download) <= max(report.upload, report.download) <= 2**50
    assert NOW.timestamp() - 31 * 86_400 - 1 < report.moment <= NOW.timestamp()
    assert len(report.event_id) <= 64


def test_refusals_are_listed_in_the_order_of_the_batch() -> None:
    errors = {"port": ["No."]}
    assert reports.index_errors({7: errors, 2: errors}) == [
        {"index": 2, "errors": errors},
        {"index": 7, "errors": errors},
    ]
