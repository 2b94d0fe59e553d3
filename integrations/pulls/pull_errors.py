"""Sentences for the error codes of readings. Neither code nor sentence holds any part of the panel's answer."""

import re

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

_STATUS = re.compile(r"http_(\d{3})", re.ASCII)
_REFUSED = gettext_lazy("The panel refuses the key or password; its rights may be too narrow.")
_OURS = gettext_lazy("Our own panel failed; its log says why.")
_SENTENCES: dict[str, str | Promise] = {
    # The address, when saved and before each reading.
    "bad_url": gettext_lazy("This is not a URL, or it is longer than 2048 characters."),
    "bad_scheme": gettext_lazy("The URL must begin with https://."),
    "http": gettext_lazy("Plain http is allowed inside your own network alone."),
    "credentials": gettext_lazy("The URL must not hold a user and password."),
    "bad_host": gettext_lazy("The URL's host is neither a name nor an IP address."),
    "bad_port": gettext_lazy("Only the ports 80, 443 and those from 1024 are allowed."),
    "private_address": gettext_lazy(
        "The host is at a private address; “inside your own network” allows it."
    ),
    "own_panel": gettext_lazy("This is this panel itself: its traffic would be counted twice."),
    "linked": gettext_lazy("This panel is linked: its traffic would be counted twice."),
    # Connection.
    "dns": gettext_lazy("The host name was not found."),
    "connection": gettext_lazy("The panel does not answer, or closes the connection too early."),
    "connect_timeout": gettext_lazy("The panel does not answer."),
    "stalled": gettext_lazy("The panel stopped sending."),
    "timeout": gettext_lazy("The panel is too slow."),
    "tls": gettext_lazy("The panel's certificate is not valid."),
    "bad_response": gettext_lazy("The answer is not proper HTTP."),
    "bad_encoding": gettext_lazy("The answer uses an unknown compression."),
    "too_large": gettext_lazy("An answer of the panel is larger than 4 MB."),
    # Content.
    "bad_answer": gettext_lazy(
        "The answer is not that of such a panel; the address or its path may be wrong."
    ),
    "too_many_people": gettext_lazy("The panel lists more than 100,000 people."),
    "forbidden_path": _OURS,
    "sign_in": _REFUSED,
    "http_401": _REFUSED,
    "http_403": _REFUSED,
    "http_404": gettext_lazy(
        "Nothing was found there (404): the address may be wrong, or the key or link not valid."
    ),
    "http_429": gettext_lazy("The panel asks to come back later (429)."),
    # Ourselves.
    "sealed": gettext_lazy("SECRET_KEY has changed; enter the key or password again."),
    "no_secret": gettext_lazy("The key or password was removed; enter it again."),
    "tracking_off": gettext_lazy("Traffic tracking is switched off."),
    "busy": gettext_lazy("The database was busy; nothing is lost, and the next reading goes on."),
    "internal": _OURS,
}


def sentence(code: str) -> str:
    if code in _SENTENCES:
        return str(_SENTENCES[code])
    found = _STATUS.fullmatch(code)
    status = int(found[1]) if found else code
    if found and found[1].startswith("3"):
        return _("The panel redirects ({status}); enter the final address.").format(status=status)
    return _("The panel answers with status {status}.").format(status=status)
