"""The section of a subscriber's page that links a Telegram chat."""

from typing import Any
from urllib.parse import urlencode

from django.template.loader import render_to_string

from subscriptions.serving.subscriber_page import View, qr_code

from . import links
from .codes import LASTS
from .conf import conf
from .models import Bot

LINK = "/api/xpert/telegram-link"


def part(view: View) -> str:
    """Nothing until the bot has run: only then is its name known."""
    if not conf.telegram_token:
        return ""
    username = Bot.objects.filter(pk=1).values_list("username", flat=True).first()
    if not username:
        return ""
    link, query = f"{conf.base_path}{LINK}", {"user_token": view.token, "lang": view.language}
    context = {
        "username": username,
        "is_linked": links.of_subscriber(view.subscriber) is not None,
        "link": f"{link}?{urlencode(query)}",
        "forget": f"{link}?{urlencode(query | {'forget': 'yes'})}",
        "tells": conf.tell_people,
    }
    return render_to_string("telegram/part.html", context)


def back(token: str, language: str) -> str:
    query = urlencode({"user_token": token, "lang": language})
    return f"{conf.base_path}/api/xpert/sub?{query}#telegram"


def code_context(username: str, code: str) -> dict[str, Any]:
    """A code as text, as a link that opens the bot, and as a QR code for a phone."""
    url = f"https://t.me/{username}?{urlencode({'start': code})}" if username else ""
    return {
        "code": code,
        "username": username,
        "url": url,
        "qr": qr_code(url) if url else "",
        "minutes": int(LASTS.total_seconds()) // 60,
    }
