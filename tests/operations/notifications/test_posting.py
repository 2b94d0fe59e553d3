"""One POST to a URL of an operator, with bounds on time, size and place, and without redirects."""

import pytest

from operations.outbound.dial import Network, Streams
from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Limits
from operations.outbound.posting import LIMITS, Message, post
from operations.outbound.url_policy import Policy
from tests.operations.notifications.loopback import Loopback

PRIVATE = Policy(private=True)
PUBLIC = Policy(http=True, ports=True, addresses=True)


def send(url: str, body: bytes = b"{}", limits: Limits = LIMITS, **headers: str) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    post(Message(url, body, PRIVATE, named), limits)


def error(url: str, limits: Limits = LIMITS) -> str:
    with pytest.raises(OutboundError) as found:
        send(url, limits=limits)
    return found.value.code


def test_what_is_sent_arrives_with_its_headers(loopback: Loopback) -> None:
    send(f"{loopback.url}/a/b?c=d", '{"text": "привет"}'.encode(), Xpert_Id="7")
    (came,) = loopback.came
    assert (came.path, came.json) == ("/a/b?c=d", {"text": "привет"})
    assert came.headers["Host"] == loopback.url.removeprefix("http://")
    assert came.headers["Content-Type"] == "application/json"
    assert came.headers["Xpert-Id"] == "7"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_confirms(loopback: Loopback, status: int) -> None:
    loopback.answers = [status]
    send(loopback.url)


@pytest.mark.parametrize("status", [300, 304, 400, 403, 410, 429, 500, 503])
def test_no_other_status_confirms(loopback: Loopback, status: int) -> None:
    loopback.answers = [status]
    assert error(loopback.url) == f"http_{status}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(loopback: Loopback, status: int) -> None:
    loopback.answers, loopback.location = [status], f"{loopback.url}/elsewhere"
    assert error(loopback.url) == f"http_{status}"
    assert len(loopback.came) == 1


def test_a_receiver_that_does_not_answer_is_left(loopback: Loopback) -> None:
    loopback.go.clear()
    assert error(loopback.url, Limits(total=0.3)) == "timeout"


def test_a_port_where_nobody_listens_is_told(unused_port: int) -> None:
    assert error(f"http://127.0.0.1:{unused_port}") == "connection"


def test_a_name_that_nobody_has_is_told() -> None:
    assert error("http://nobody.invalid/") == "dns"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\nX: y",
    ],
)
def test_an_answer_that_is_no_http_or_has_no_end_confirms_nothing(
    loopback: Loopback, raw: bytes
) -> None:
    loopback.raw = raw
    assert error(loopback.url) in {"bad_response", "connection"}


def refusal(url: str) -> OutboundError:
    with pytest.raises(OutboundError) as found:
        send(url)
    return found.value


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("3600", 3600),
        ("", None),
        ("soon", None),
        ("999999999999", 86_400),
        (" 60 ", 60),
        ("-1", None),
    ],
)
def test_a_wait_that_the_receiver_names_is_heard_up_to_a_day(
    loopback: Loopback, said: str, seconds: int | None
) -> None:
    loopback.answers, loopback.retry_after = [429], said
    assert refusal(loopback.url).retry_after == seconds


def test_the_body_of_a_refusal_comes_along_up_to_a_limit(loopback: Loopback) -> None:
    loopback.answers, loopback.refusal = [400, 400], b'{"ok": false}'
    assert refusal(loopback.url).answer == b'{"ok": false}'
    loopback.refusal = b"x" * 200_000
    assert refusal(loopback.url).answer == b"x" * 16384


def test_a_refusal_whose_body_breaks_off_is_told_with_its_status(loopback: Loopback) -> None:
    loopback.raw = b"HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: 99\r\n\r\n{"
    found = refusal(loopback.url)
    assert (found.code, found.retry_after, found.answer) == ("http_429", 7, b"{")


def test_an_interim_answer_is_passed_over(loopback: Loopback) -> None:
    loopback.raw = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    send(loopback.url)


def test_plain_http_where_tls_is_expected_is_told(loopback: Loopback) -> None:
    assert error(loopback.url.replace("http:", "https:")) in {"tls", "connection"}


@pytest.mark.parametrize(
    "url",
    ["", "example.com/hook", "ftp://example.com/", "https://", "https://user:password@example.com/", "https://a b/",
     "https://a/b c", "https://a/\r\nX: y", "http://a:99999/", "http://a:b/", "file:///etc/passwd", "http://a:25/"],
)  # fmt: skip
def test_a_text_that_is_not_a_url_is_refused(url: str) -> None:
    assert error(url) in {"bad_url", "bad_scheme", "bad_host", "bad_port", "credentials"}


class TestPolicy:
    """Receivers have the same policy as sources."""

    @staticmethod
    def dialled(url: str, policy: Policy, addresses: list[str]) -> tuple[str, list[str]]:
        """The code of the failure, and the addresses that were dialled."""
        found: list[str] = []

        async def resolve(host: str, port: int) -> list[str]:
            return addresses or [host]

        async def connect(address: str, port: int, tls_name: str) -> Streams:
            found.append(address)
            raise ConnectionRefusedError

        with pytest.raises(OutboundError) as failure:
            post(Message(url, b"{}", policy), network=Network(resolve, connect))
        return failure.value.code, found

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "0.0.0.0",
         "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[fd00:ec2::254]", "[fe80::1]"],
    )  # fmt: skip
    def test_no_private_address_is_dialled(self, host: str) -> None:
        assert self.dialled(f"http://{host}/", PUBLIC, []) == ("private_address", [])
        assert self.dialled("http://hook.example/", PUBLIC, [host.strip("[]")]) == (
            "private_address",
            [],
        )

    def test_one_private_address_among_others_is_a_trap(self) -> None:
        found = self.dialled("https://hook.example/", PUBLIC, ["93.184.215.14", "127.0.0.1"])
        assert found == ("private_address", [])

    @pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "fd12::1"])
    def test_the_operators_own_network_may_be_allowed(self, address: str) -> None:
        assert self.dialled("http://hook.example/", PRIVATE, [address]) == ("connection", [address])

    @pytest.mark.parametrize(
        "address", ["169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"]
    )
    def test_where_clouds_keep_their_secrets_is_never_dialled(self, address: str) -> None:
        assert self.dialled("http://hook.example/", PRIVATE, [address]) == ("private_address", [])
