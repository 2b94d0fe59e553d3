"""Talks HTTP with the panel: one request, one answer, one clear sentence when it fails."""

from __future__ import annotations

import email.utils
import gzip
import http.client
import json
import os
import socket
import ssl
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

from xpert_agent import __version__
from xpert_agent.mapping import Listed
from xpert_agent.sources.base import Endpoint, place_of

TIMEOUT = 30.0
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes. The largest is the configuration of a gateway for thousands of people."""
CLOCK_TOLERANCE = 60.0
"""Seconds by which the clocks may differ before ours is corrected in what is sent."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class PanelError(Exception):
    """The panel cannot be used. One clear sentence for people, without secrets."""


class UnreachableError(PanelError):
    """Nothing was sent, or no answer came."""


class Answered(NamedTuple):
    """The panel's answer, whatever it says."""

    status: int
    body: Any
    """Parsed JSON; None if it is not JSON."""
    retry_after: float
    """Seconds; 0 if the panel does not say."""
    clock: float | None
    """Unix seconds of the panel's clock."""
    etag: str = ""


class GatewayConfig(NamedTuple):
    etag: str
    document: dict[str, Any]


@dataclass(frozen=True)
class Address:
    """Where the panel is and who asks."""

    url: str
    """Without a trailing slash; "/api/xpert/…" follows."""
    key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    allow_http: bool = False
    ca_file: str = ""

    def check(self) -> None:
        """Raises `PanelError` unless this can be the address of a panel."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PanelError(f"“{_shortened(self.url)}” is not the https:// address of a panel.")
        if parts.scheme == "http" and not self.allow_http and parts.hostname not in LOOPBACK:
            raise PanelError(
                f"http://{parts.netloc} would send keys and subscriptions readable for everybody on the way:"
                " use https://, or allow it with --allow-http (allow_http = yes)."
            )

    @property
    def host(self) -> str:
        return place_of(self.url)


class Panel:
    def __init__(self, address: Address) -> None:
        """Raises `PanelError` for an address or a CA file that cannot be used."""
        address.check()
        self.address = address
        self.clock_offset = 0.0
        """Seconds that the panel's clock is ahead of ours; 0 for a difference that does not matter."""
        self._tls = _tls(address) if address.url.startswith("https:") else None

    def servers(self) -> dict[str, Listed]:
        """The panel's list of servers by name; raises `PanelError`."""
        query = urlencode({"user_token": self.address.token})
        answered = self.ask("GET", f"/api/xpert/servers?{query}")
        if answered.status != http.client.OK:
            raise PanelError(self._refusal(answered, "does not know this subscription"))
        try:
            return dict(_listed(one) for one in answered.body["servers"])
        except (KeyError, TypeError, ValueError) as error:
            raise PanelError(f"{self.address.host} does not answer like an Xpert Panel.") from error

    def gateway_config(self, name: str, etag: str) -> GatewayConfig | None:
        """What a gateway shall be; None: still what `etag` names. Raises `PanelError`."""
        target = f"/api/xpert/gateways/{quote(name, safe='')}/config"
        answered = self.ask("GET", target, etag=etag)
        if answered.status == http.client.NOT_MODIFIED:
            return None
        if answered.status != http.client.OK:
            raise PanelError(self._refusal(answered, "has no such gateway"))
        if not isinstance(answered.body, dict) or "servers" not in answered.body:
            raise PanelError(f"{self.address.host} does not answer like an Xpert Panel.")
        return GatewayConfig(answered.etag, answered.body)

    def tell_gateway_state(self, name: str, state: Mapping[str, Any]) -> None:
        """What a gateway is and does; raises `PanelError`."""
        target = f"/api/xpert/gateways/{quote(name, safe='')}/state"
        body = gzip.compress(json.dumps(state).encode(), 6, mtime=0)
        answered = self.ask("POST", target, body)
        if answered.status != http.client.OK:
            raise PanelError(self._refusal(answered, "takes no state of a gateway"))

    def refusal(self, answered: Answered) -> str:
        """What an answer that is not a 200 means for readings, in one sentence."""
        return self._refusal(
            answered, "has no meter readings; is it an Xpert Panel, and new enough"
        )

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        before_sending: Callable[[], None] | None = None,
        etag: str = "",
    ) -> Answered:
        """Sends one request; raises `UnreachableError`.

        `before_sending` runs when the panel is connected and nothing has been sent. `etag`: of what is known.
        """
        connection, path = self._connection(target)
        try:
            connection.connect()
            if before_sending:
                before_sending()
            headers = self._headers(body) | ({"If-None-Match": etag} if etag else {})
            connection.request(method, path, body, headers)
            answered = _answered(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(_sentence(self.address.host, error)) from error
        finally:
            connection.close()
        self._compare_clocks(answered)
        return answered

    def _compare_clocks(self, answered: Answered) -> None:
        if answered.clock is not None:
            offset = answered.clock - time.time()
            self.clock_offset = offset if abs(offset) > CLOCK_TOLERANCE else 0.0

    def _connection(self, target: str) -> tuple[http.client.HTTPConnection, str]:
        parts = urlsplit(self.address.url)
        host, port = parts.hostname or "", parts.port
        path = parts.path + target
        proxy = _proxy(parts.scheme, host)
        if proxy is None:
            return self._direct(host, port), path
        connection = self._direct(proxy.hostname or "", proxy.port or 80)
        if self._tls is None:
            return connection, f"http://{parts.netloc}{path}"
        connection.set_tunnel(host, port or 443, _proxy_headers(proxy.username, proxy.password))
        return connection, path

    def _direct(self, host: str, port: int | None) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=self._tls)

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {"User-Agent": f"xpert-agent/{__version__}", "Accept": "application/json"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        if self.address.key:
            headers["Authorization"] = f"Bearer {self.address.key}"
        return headers

    def _refusal(self, answered: Answered, not_found: str) -> str:
        status, host = answered.status, self.address.host
        what = "the API key" if self.address.key else "this subscription"
        said = _detail(answered.body)
        if status in (401, 403):
            return f"{host} does not accept {what} (HTTP {status}{said})."
        if status == http.client.NOT_FOUND:
            return f"{host} {not_found} (HTTP 404{said})."
        if 300 <= status < 400:
            return f"{host} redirects to another address; use the address it redirects to (HTTP {status})."
        return f"{host} answers HTTP {status}{said}."


def panel_of(subscription_url: str) -> tuple[str, str]:
    """(address of the panel, user token) of a subscription's URL; raises `PanelError`."""
    parts = urlsplit(subscription_url.strip())
    before, found, _ = parts.path.partition("/api/xpert/")
    token = dict(_pair(pair) for pair in parts.query.split("&")).get("user_token", "")
    if parts.scheme not in ("http", "https") or not parts.hostname or not found or not token:
        raise PanelError(
            "This is not the URL of a subscription of Xpert Panel; it looks like"
            " https://panel.example.com/api/xpert/sub?user_token=… (copy it from the subscription's page)."
        )
    return f"{parts.scheme}://{parts.netloc}{before}", token


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, unquote(value)


def _listed(one: Mapping[str, Any]) -> tuple[str, Listed]:
    endpoint = Endpoint(str(one["server"]), int(one["port"]), str(one["protocol"]))
    return str(one["name"]), Listed(endpoint, bool(one.get("measured", False)))


def _tls(address: Address) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=address.ca_file or None)
    except OSError as error:
        raise PanelError(f"The CA file {address.ca_file} cannot be read: {error}.") from error


def _proxy(scheme: str, host: str) -> Any:
    """The HTTP proxy of this machine for `host`, or None."""
    if host in LOOPBACK or not _may_have_proxies():
        return None
    request = import_module("urllib.request")
    proxy = request.getproxies().get(scheme, "")
    return (
        urlsplit(proxy) if proxy.startswith("http://") and not request.proxy_bypass(host) else None
    )


def _may_have_proxies() -> bool:
    """Most machines have none, and urllib.request would cost 2 MB of memory to say so."""
    return sys.platform in ("win32", "darwin") or any(
        name.lower().endswith("_proxy") for name in os.environ
    )


def _proxy_headers(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    credentials = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(credentials).decode()}"}


def _answered(response: http.client.HTTPResponse) -> Answered:
    raw = response.read(MAX_ANSWER)
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    clock = (
        email.utils.parsedate_to_datetime(response.headers["Date"])
        if response.headers["Date"]
        else None
    )
    wait = response.headers.get("Retry-After", "")
    seconds = float(wait) if wait.isascii() and wait.isdigit() else 0.0
    moment = clock.timestamp() if clock else None
    return Answered(response.status, body, seconds, moment, response.headers.get("ETag", ""))


def _detail(body: Any) -> str:
    if isinstance(body, dict) and body:
        name, said = next(iter(body.items()))
        said = said[0] if isinstance(said, list) and said else said
        return f": {said}"[:200] if name == "detail" else f": {name}: {said}"[:200]
    return ""


def _sentence(host: str, error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The certificate of {host} is not trusted: {error.verify_message}."
    if isinstance(error, ssl.SSLError):
        return f"No TLS connection to {host}: {error.reason or error}."
    if isinstance(error, socket.gaierror):
        return f"The name of {host} cannot be resolved."
    if isinstance(error, (TimeoutError, socket.timeout)):
        return f"{host} does not answer in time."
    if isinstance(error, ConnectionRefusedError):
        return f"{host} refuses connections."
    return f"{host} cannot be reached: {str(error) or type(error).__name__}."


def _shortened(text: str) -> str:
    return text if len(text) <= 12 else f"{text[:12]}…"
