"""What people choose for API keys: how true their figures are, their way in, and their servers."""

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from operations.extension import KeyOption
from operations.hosts import join_host_port
from operations.models import ApiKey
from traffic.models import Reporter
from traffic.reports import InvalidReport, normalised_port, normalised_server

GRADE = KeyOption(
    name="grade",
    label=_("grade"),
    help_text=_("How true its figures are. Of several who report one flow, the best grade counts."),
    choices=tuple(Reporter.Grade.choices),
    default=Reporter.Grade.PROVIDER,
)
WAY = KeyOption(
    name="way",
    label=_("accepted by"),
    help_text=_("The one way by which the key may report."),
    choices=(
        ("", _("any")),
        (Reporter.Kind.WEBHOOK, _("webhook")),
        (Reporter.Kind.READINGS, _("meter readings")),
        (Reporter.Kind.INFORM, _("3x-ui inform")),
    ),
    default="",
)


def _server(text: str) -> str:
    """A host, or a host and its port, normalised as in a report."""
    try:
        return normalised_server(text)
    except InvalidReport:
        host, _colon, port = text.rpartition(":")
        return join_host_port(normalised_server(host), normalised_port(port))


def _servers(text: str) -> str:
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(_server(part))
        except InvalidReport:
            raise ValueError(
                gettext("%s is not a server: expected vpn.example.com or vpn.example.com:443.")
                % part[:100]
            ) from None
    return ",".join(sorted(set(found)))


SERVERS = KeyOption(
    name="servers",
    label=_("only these servers"),
    help_text=_(
        "The key reports about these servers alone, and reads the statistics of nothing else: vpn.example.com,"
        " vpn2.example.com:443. Empty = all."
    ),
    clean=_servers,
    is_changeable=True,
    is_limit=True,
)

OTHER_WAY = "This key was created for another way in."


def grade_of(key: ApiKey) -> str:
    return str(key.options.get(GRADE.name, GRADE.default))


def allows(key: ApiKey, way: str) -> bool:
    """Whether this key may report by this way in."""
    return key.options.get(WAY.name, WAY.default) in ("", way)


def allows_server(key: ApiKey, host: str, port: int) -> bool:
    """Whether this key is not limited to other servers."""
    chosen = key.options.get(SERVERS.name, "")
    return not chosen or not {host, join_host_port(host, port)}.isdisjoint(chosen.split(","))
