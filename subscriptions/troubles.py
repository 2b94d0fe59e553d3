"""What went wrong with a source, in words. The codes are kept and are for programs; nothing of the answer is in either."""

import re

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .links import LinkError

_STATUS = re.compile(r"http_(\d{3})", re.ASCII)
_SENTENCES: dict[str, str | Promise] = {
    # The URL, at saving or at a redirect.
    "bad_url": gettext_lazy("This is not a URL, or it is longer than 2048 characters."),
    "bad_scheme": gettext_lazy("The URL must begin with https://."),
    "http": gettext_lazy("Plain http is not allowed (XPERT_SOURCES_ALLOW=http)."),
    "credentials": gettext_lazy("A user and password in the URL are not allowed (XPERT_SOURCES_ALLOW=credentials)."),
    "ip_literal": gettext_lazy("An IP address instead of a name is not allowed (XPERT_SOURCES_ALLOW=addresses)."),
    "bad_host": gettext_lazy("The URL's host is neither a name nor an IP address."),
    "bad_port": gettext_lazy("Only the ports 80, 443, 8080 and 8443 are allowed (XPERT_SOURCES_ALLOW=ports)."),
    "private_address": gettext_lazy("The host is at a private address, which is not allowed for this source."),
    "downgrade": gettext_lazy("The server redirects from https to http."),
    "too_many_redirects": gettext_lazy("The server redirects more than 3 times."),
    # The way there and back.
    "dns": gettext_lazy("The host's name is not known."),
    "connection": gettext_lazy("The server does not answer, or breaks off."),
    "connect_timeout": gettext_lazy("The server does not answer."),
    "stalled": gettext_lazy("The server stopped sending."),
    "timeout": gettext_lazy("The server is too slow."),
    "tls": gettext_lazy("The server's certificate is not valid."),
    "bad_response": gettext_lazy("The answer is not proper HTTP."),
    "bad_encoding": gettext_lazy("The answer is compressed in a way that is not understood."),
    "too_large": gettext_lazy("The list is too large (XPERT_SOURCES_MAX_MB)."),
    # What came.
    "empty": gettext_lazy("The list is empty."),
    "html": gettext_lazy("A web page came instead of a list; perhaps the URL has expired."),
    "json": gettext_lazy("JSON came instead of links; perhaps another XPERT_SOURCES_USER_AGENT helps."),
    "clash-yaml": gettext_lazy("Clash YAML came instead of links; perhaps another XPERT_SOURCES_USER_AGENT helps."),
    "too_many_lines": gettext_lazy("The list has more than 5000 lines."),
    "no_nodes": gettext_lazy("No line of the list is a usable server."),
    "unknown": gettext_lazy("What came is no list of links."),
    "internal": gettext_lazy("The panel itself failed; its log says why."),
}
_STATUSES: dict[int, str | Promise] = {
    401: gettext_lazy("The provider refuses the URL (401); perhaps it has expired."),
    403: gettext_lazy("The provider refuses the URL (403); perhaps it has expired."),
    404: gettext_lazy("There is nothing at this URL (404); perhaps it has expired."),
    429: gettext_lazy("The provider asks to come back later (429)."),
}


# Why a line of a list is left out, besides what a link itself can have wrong.
_LEFT_OUT: dict[str, str | Promise] = {
    "pseudo": gettext_lazy("A note of the provider, not a server."),
    "private_host": gettext_lazy("The server is at a private address."),
    "duplicate": gettext_lazy("The same server stands in the list already."),
    "over_limit": gettext_lazy("The list has more than 2000 servers."),
}


def left_out(code: str) -> str:
    """Why lines of a list were left out."""
    if code in _LEFT_OUT:
        return str(_LEFT_OUT[code])
    try:
        return _(str(LinkError(code)))
    except KeyError:  # of another version
        return code


def sentence(code: str) -> str:
    if code in _SENTENCES:
        return str(_SENTENCES[code])
    found = _STATUS.fullmatch(code)
    status = int(found[1]) if found else 0
    return str(_STATUSES.get(status) or _("The server answers with status {status}.").format(status=status or code))
