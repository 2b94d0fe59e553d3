"""In what state a subscription is, in words; and for one without servers the pseudo-link whose name says so.

Most apps show nothing but names of servers.
"""

from urllib.parse import quote

_TEXTS = {
    "en": {
        "active": "Subscription is active",
        "disabled": "Subscription is disabled",
        "expired": "Subscription has expired",
        "limited": "Data limit is used up",
    },
    "ru": {
        "active": "Подписка активна",
        "disabled": "Подписка отключена",
        "expired": "Срок подписки истёк",
        "limited": "Лимит трафика исчерпан",
    },
    "fa": {
        "active": "اشتراک فعال است",
        "disabled": "اشتراک غیرفعال است",
        "expired": "اشتراک منقضی شده است",
        "limited": "حجم مجاز تمام شده است",
    },
}
# Goes nowhere, but has all that the strictest reader wants of a vless link.
_NOWHERE = "vless://00000000-0000-0000-0000-000000000000@127.0.0.1:1?encryption=none&security=none&type=tcp"


def text(state: str, language: str) -> str:
    """``state``: active, disabled, expired or limited; ``language``: en, ru or fa."""
    return _TEXTS[language][state]


def link(state: str, language: str) -> str:
    """``state``: any but active."""
    return f"{_NOWHERE}#{quote(f'⛔ {text(state, language)}', safe='')}"
