"""The state of a subscription in words, and the pseudo-link whose name shows it.

Most apps show only names of servers, so an inactive subscription gets such a link instead of servers.
"""

from collections.abc import Sequence
from urllib.parse import quote

from subscriptions.conf import conf
from subscriptions.links import Node
from traffic.people.server_limits import Filled

_TEXTS = {
    "en": {
        "active": "Subscription is active",
        "disabled": "Subscription is disabled",
        "expired": "Subscription has expired",
        "limited": "Data limit is used up",
        "on_hold": "Subscription begins with the first use",
    },
    "ru": {
        "active": "Подписка активна",
        "disabled": "Подписка отключена",
        "expired": "Срок подписки истёк",
        "limited": "Лимит трафика исчерпан",
        "on_hold": "Подписка начнётся с первого использования",
    },
    "fa": {
        "active": "اشتراک فعال است",
        "disabled": "اشتراک غیرفعال است",
        "expired": "اشتراک منقضی شده است",
        "limited": "حجم مجاز تمام شده است",
        "on_hold": "اشتراک با اولین استفاده آغاز می‌شود",
    },
}
_USED_UP = {
    "en": ("Data limit is used up: {names}", ", again from {date}"),
    "ru": ("Лимит исчерпан: {names}", ", снова с {date}"),
    "fa": ("حجم مجاز تمام شده است: {names}", "، دوباره از {date}"),
}
_TOO_MANY_DEVICES = {
    "en": "Device limit reached: {limit}",
    "ru": "Достигнут лимит устройств: {limit}",
    "fa": "به سقف تعداد دستگاه‌ها رسیده‌اید: {limit}",
}
_UNKNOWN_DEVICE = {
    "en": "This app does not identify the device: use another app",
    "ru": "Приложение не сообщает, какое это устройство: возьмите другое",
    "fa": "این برنامه دستگاه را معرفی نمی‌کند: از برنامهٔ دیگری استفاده کنید",
}
# Names in one line; an app shows little more.
_SHOWN = 5
# It leads nowhere, but has every part that the strictest app requires of a vless link.
_NOWHERE = "vless://00000000-0000-0000-0000-000000000000@127.0.0.1:1?encryption=none&security=none&type=tcp"


def text(state: str, language: str) -> str:
    """``state``: a value of ``quotas.State``; ``language``: en, ru or fa."""
    return _TEXTS[language][state]


def too_many_devices(limit: int, language: str) -> str:
    return _TOO_MANY_DEVICES[language].format(limit=limit)


def unknown_device(language: str) -> str:
    """For an app that sends no id of its device."""
    return _UNKNOWN_DEVICE[language]


def used_up(limits: Sequence[Filled], language: str) -> str:
    """The limits on servers that are used up, in words, and the day from which the first of them lasts again."""
    told, again = _USED_UP[language]
    names = sorted({str(one.limit) for one in limits})
    shown = names[:_SHOWN] + (["…"] if len(names) > _SHOWN else [])
    ends = [one.resets_at for one in limits if one.resets_at is not None]
    date = again.format(date=f"{min(ends).astimezone(conf.time_zone):%Y-%m-%d}") if ends else ""
    return told.format(names=", ".join(shown)) + date


def link(told: str, mark: str = "⛔") -> str:
    """A link to nowhere that shows a text."""
    return f"{_NOWHERE}#{quote(f'{mark} {told}', safe='')}"


def is_notice(node: Node) -> bool:
    """Whether it is of such a link."""
    return node.port == 1 and node.server == "127.0.0.1"
