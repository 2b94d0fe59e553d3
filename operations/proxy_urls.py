"""URLs of proxies. Pure."""

from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

_SCHEMES = {"http": 8080, "https": 443, "socks5": 1080, "socks5h": 1080}


class Proxy(msgspec.Struct, frozen=True):
    scheme: str
    host: str
    port: int
    username: str = ""
    password: str = ""


def parsed(url: str) -> Proxy | None:
    """The proxy of a URL like ``socks5://user:password@host:1080``; None if it is not one."""
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return None
    if found.scheme not in _SCHEMES or not found.hostname or not _is_bare(found):
        return None
    username, password = (unquote(part or "") for part in (found.username, found.password))
    if len(username.encode()) > 255 or len(password.encode()) > 255:
        return None
    return Proxy(found.scheme, found.hostname, port or _SCHEMES[found.scheme], username, password)


def _is_bare(found: SplitResult) -> bool:
    return found.path in {"", "/"} and not found.query and not found.fragment
