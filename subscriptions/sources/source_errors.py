"""Sentences for the error codes of sources. Neither code nor sentence holds any part of the source's answer."""

import re

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from subscriptions.links import LinkError

from .name_rules import RuleError

_STATUS = re.compile(r"http_(\d{3})", re.ASCII)
_SENTENCES: dict[str, str | Promise] = {
    # URL, when saved or after a redirect.
    "bad_url": gettext_lazy("This is not a URL, or it is longer than 2048 characters."),
    "bad_scheme": gettext_lazy("The URL must begin with https://."),
    "http": gettext_lazy("Plain http is not allowed (XPERT_SOURCES_ALLOW=http)."),
    "credentials": gettext_lazy(
        "A user and password in the URL are not allowed (XPERT_SOURCES_ALLOW=credentials)."
    ),
    "ip_literal": gettext_lazy(
        "An IP address instead of a name is not allowed (XPERT_SOURCES_ALLOW=addresses)."
    ),
    "bad_host": gettext_lazy("The URL's host is neither a name nor an IP address."),
    "bad_port": gettext_lazy(
        "Only the ports 80, 443, 8080 and 8443 are allowed (XPERT_SOURCES_ALLOW=ports)."
    ),
    "private_address": gettext_lazy(
        "The host is at a private address, which is not allowed for this source."
    ),
    "downgrade": gettext_lazy("The server redirects from https to http."),
    "too_many_redirects": gettext_lazy("The server redirects more than 3 times."),
    # Connection.
    "dns": gettext_lazy("The host name was not found."),
    "connection": gettext_lazy("The server does not answer, or closes the connection too early."),
    "connect_timeout": gettext_lazy("The server does not answer."),
    "stalled": gettext_lazy("The server stopped sending."),
    "timeout": gettext_lazy("The server is too slow."),
    "tls": gettext_lazy("The server's certificate is not valid."),
    "bad_response": gettext_lazy("The answer is not proper HTTP."),
    "bad_encoding": gettext_lazy("The answer uses an unknown compression."),
    "too_large": gettext_lazy("The list is too large (XPERT_SOURCES_MAX_MB)."),
    # Content.
    "empty": gettext_lazy("The list is empty."),
    "html": gettext_lazy("The answer is a web page, not a list; the URL may have expired."),
    "json": gettext_lazy(
        "The answer is JSON without servers; another XPERT_SOURCES_USER_AGENT may help."
    ),
    "clash-yaml": gettext_lazy(
        "The answer is Clash YAML without servers; another XPERT_SOURCES_USER_AGENT may help."
    ),
    "too_many_lines": gettext_lazy("The list has more than 5000 lines."),
    "no_nodes": gettext_lazy("The list holds no usable server."),
    "unknown": gettext_lazy("The answer is not a list of links."),
    "nothing_taken": gettext_lazy("The patterns of this source leave no server."),
    "slow_rules": gettext_lazy("The patterns of this source take too long."),
    "bad_rule": gettext_lazy("A pattern of this source is not valid."),
    "internal": gettext_lazy("The panel itself failed; its log says why."),
}
_STATUSES: dict[int, str | Promise] = {
    401: gettext_lazy("The provider refuses the URL (401); it may have expired."),
    403: gettext_lazy("The provider refuses the URL (403); it may have expired."),
    404: gettext_lazy("Nothing was found at this URL (404); it may have expired."),
    429: gettext_lazy("The provider asks to come back later (429)."),
}


# Why a line or an entry of a list is left out, besides errors in the link itself.
_LEFT_OUT: dict[str, str | Promise] = {
    "pseudo": gettext_lazy("A note from the provider, not a server."),
    "private_host": gettext_lazy("The server is at a private address."),
    "duplicate": gettext_lazy("The server is already in the list."),
    "over_limit": gettext_lazy("The list has more than 2000 servers."),
    # The rules of the source.
    "not_kept": gettext_lazy("The name does not match “take only”."),
    "dropped": gettext_lazy("The name matches “leave out”."),
    # Entries of configurations.
    "bad_type": gettext_lazy("A setting has a value of the wrong type."),
    "unclear": gettext_lazy("Apps read the value of a setting in different ways; it needs quotes."),
    "unknown_setting": gettext_lazy("The entry has a setting that a link cannot hold."),
    "inexact": gettext_lazy("A link cannot say exactly how the entry connects."),
    "chained": gettext_lazy("The entry connects through another server."),
}


_RULES: dict[str, str | Promise] = {
    "syntax": gettext_lazy("Line {line}, character {place}: this is not a regular expression."),
    "too_long": gettext_lazy("Line {line}: the text is too long from character {place}."),
    "slow": gettext_lazy("Line {line}: the pattern could take too long; repeat less inside of it."),
    "unsupported": gettext_lazy(
        "Line {line}: references to groups, conditions and atomic groups are not possible in a pattern."
    ),
    "no_arrow": gettext_lazy("Line {line}: write pattern => replacement."),
    "too_many": gettext_lazy("Line {line}: there are more than 20 rules."),
}


def of_rule(error: RuleError) -> str:
    """Why a rule of a source is refused, and where."""
    return str(_RULES[error.code]).format(line=error.line, place=error.place)


def left_out(code: str) -> str:
    """The reason why lines of a list were left out."""
    if not code:
        return ""
    if code in _LEFT_OUT:
        return str(_LEFT_OUT[code])
    try:
        return _(str(LinkError(code)))
    except KeyError:  # a code of another version
        return code


def sentence(code: str) -> str:
    if code in _SENTENCES:
        return str(_SENTENCES[code])
    found = _STATUS.fullmatch(code)
    status = int(found[1]) if found else 0
    return str(
        _STATUSES.get(status)
        or _("The server answers with status {status}.").format(status=status or code)
    )
