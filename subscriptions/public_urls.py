"""Addresses that we hand out. Their paths are part of the contract, so they don't follow the project's URL conf."""

from urllib.parse import urlencode

from django.conf import settings

from traffic.conf import conf


def public_origin(own: str) -> str:
    """XPERT_DOMAIN, else ``own``: the origin to which the request came."""
    return conf.domain or own


def local_origin() -> str:
    """Where the panel itself listens, for those who have no request to ask."""
    host, port = getattr(settings, "HOST", "127.0.0.1"), getattr(settings, "PORT", 8000)
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  names it, binds nothing
    return f"http://[{name}]:{port}" if ":" in name and not name.startswith("[") else f"http://{name}:{port}"


def subscription_url(token: str, origin: str, path: str = "/api/xpert/sub") -> str:
    return f"{origin}{path}?{urlencode({'user_token': token})}"


def webhook_url(origin: str) -> str:
    return f"{origin}/api/xpert/traffic-webhook"
