"""Why a notification was not confirmed, in words. The codes are kept and are for programs."""

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

_SENTENCES: dict[str, str | Promise] = {
    "bad_url": gettext_lazy("This is no URL that can be posted to."),
    "timeout": gettext_lazy("The receiver is too slow."),
    "tls": gettext_lazy("The receiver's certificate is not valid."),
    "connection": gettext_lazy("The receiver does not answer, or breaks off."),
    "bad_response": gettext_lazy("The receiver's answer is not proper HTTP."),
    "mail_refused": gettext_lazy("The mail server refuses the message; see EMAIL_URL and EMAIL_FROM."),
    "http_401": gettext_lazy("The receiver refuses it (401): is the bot's token right?"),
    "http_403": gettext_lazy("The receiver refuses it (403): has the chat let the bot in?"),
    "http_404": gettext_lazy("The receiver does not know the address (404): is the URL, or the bot's token, right?"),
    "http_400": gettext_lazy("The receiver refuses it (400): is the chat's id right?"),
    "http_429": gettext_lazy("The receiver asks to come back later (429)."),
}


def sentence(code: str) -> str:
    """Of a code like ``timeout`` or ``http_500``; nothing of none."""
    if code in _SENTENCES:
        return str(_SENTENCES[code])
    status = code.removeprefix("http_")
    if status.startswith("3"):
        return _("The receiver redirects (%s), which is not followed: enter the final address.") % status
    return _("The receiver answers with an error (%s).") % status if status else ""
