"""Public URLs. Their paths are promised to clients, so they do not depend on the project's URL conf."""

from urllib.parse import urlencode

from django.conf import settings

from operations.hosts import join_host_port
from subscriptions.conf import conf


def public_url(own: str) -> str:
    """Where subscribers reach the panel; ``own``: the origin of the request."""
    return conf.public_url(own)


def local_origin() -> str:
    """Where the panel itself listens, for callers without a request."""
    host, port = getattr(settings, "HOST", "127.0.0.1"), getattr(settings, "PORT", 8000)
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  names it, binds nothing
    return f"http://{join_host_port(name.strip('[]'), port)}"


def subscription_url(token: str, origin: str, path: str = "/api/xpert/sub") -> str:
    return f"{origin}{path}?{urlencode({'user_token': token})}"


def webhook_url(origin: str) -> str:
    return f"{origin}/api/xpert/traffic-webhook"
