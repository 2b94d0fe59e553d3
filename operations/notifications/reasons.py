"""Sentences for the error codes of deliveries. The database and programs use only the codes."""

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

_BAD_URL = gettext_lazy("Expected a URL like https://example.com/hook, without user and password.")
_SENTENCES: dict[str, str | Promise] = {
    "bad_url": _BAD_URL,
    "bad_scheme": _BAD_URL,
    "bad_host": _BAD_URL,
    "credentials": _BAD_URL,
    "bad_port": gettext_lazy("Only ports 80, 443 and 1024 or higher are allowed."),
    "private_address": gettext_lazy(
        "The address is private or reserved; XPERT_ALLOW_PRIVATE_RECEIVERS=True allows your own network."
    ),
    "dns": gettext_lazy("The receiver's host name was not found."),
    "connect_timeout": gettext_lazy(
        "The receiver does not answer, or closes the connection too early."
    ),
    "stalled": gettext_lazy("The receiver is too slow."),
    "timeout": gettext_lazy("The receiver is too slow."),
    "tls": gettext_lazy("The receiver's certificate is not valid."),
    "connection": gettext_lazy("The receiver does not answer, or closes the connection too early."),
    "bad_response": gettext_lazy("The receiver's answer is not valid HTTP."),
    "mail_refused": gettext_lazy(
        "The mail server refuses the message. Check EMAIL_URL and EMAIL_FROM."
    ),
    "proxy": gettext_lazy("The proxy of XPERT_TELEGRAM_PROXY refuses the connection."),
    "no_channel": gettext_lazy("The app that sends to this receiver is not installed."),
    "recipient_gone": gettext_lazy("The subscriber has unlinked the chat or blocked the bot."),
    "http_401": gettext_lazy("The receiver refuses the notification (401). Check the bot's token."),
    "http_403": gettext_lazy(
        "The receiver refuses the notification (403). Check that the bot is in the chat."
    ),
    "http_404": gettext_lazy(
        "The receiver does not know the address (404). Check the URL or the bot's token."
    ),
    "http_400": gettext_lazy(
        "The receiver refuses the notification (400). Check the id of the chat."
    ),
    "http_429": gettext_lazy("The receiver asks the panel to try again later (429)."),
}


def sentence(code: str) -> str:
    """The sentence for a code like ``timeout`` or ``http_500``; empty for an empty code."""
    if code in _SENTENCES:
        return str(_SENTENCES[code])
    status = code.removeprefix("http_")
    if status.startswith("3"):
        return (
            _(
                "The receiver redirects (%s), and redirects are not followed. Enter the final address."
            )
            % status
        )
    return _("The receiver answers with an error (%s).") % status if status else ""
