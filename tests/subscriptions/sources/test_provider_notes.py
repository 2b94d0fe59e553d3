"""Names that are notes about the account, and names of servers that only look like notes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions.serving.notices import _TEXTS, _USED_UP
from subscriptions.sources.provider_notes import is_note, mentions_account

NOTES = [
    "Remaining traffic: 88.03 GB",
    "Plan expires: 2027-03-03",
    "Days until reset: 24",
    "Next reset: 24 days",
    "Reset in 24 days",
    "До сброса: 24 дня",
    "Тариф до: 2027-03-03",
    "Истекает: 2027-03-03",
    "Действует до 03.03.2027",
    "Трафика осталось: 88.03 ГБ",
    "Осталось трафика 88 ГБ",
    "Осталось дней: 24",
    "ترافیک باقی‌مانده: 88.03 GB",
    "انقضا: 2027-03-03",
    "بازنشانی: ۲۴ روز",
    "距離下次重置剩餘：24 天",
    "套餐到期：長期有效",
    "剩余流量：∞",
    "剩余流量：-3.2 GB",
    "到期时间：永久",
    "有效期至 2027年3月3日",
    "您的订阅已到期",
    "您的流量已用完",
    "流量：12.5G/100G",
    "已用 30%",
    "剩余30天",
    "到期日期 2027/03/03",
    "Expires in 3 days",
    "Expired on 2027-01-01",
    "Used: 3.2GB of 50GB",
    "12.3GB left",
    "Quota exceeded",
    "User disabled",
    "Account expired",
    "⛔ Подписка закончилась",
    "Подписка неактивна",
    "Подписка не активна",
    "Срок истёк",
    "Трафик исчерпан",
    "Оплатите подписку",
    "Срок подписки: 30 дней",
    "Осталось 30 дн.",
    "30 дней / 100 ГБ",
    "Использовано 3.2 из 50 ГБ",
    "🔋 88.03GB",
    "⌛️ 12d",
    "📅 2027-03-03",
    "Expiry: 2027-03-03 | Traffic: 3/50 GB",
    "Total: 50GB Used: 3GB",
    "Traffic: 0.00 B / 100.00 GB",
    "Data: 3.00 GB",
    "剩余流量：88.03 GB",
    "距离下次重置剩余：24 天",
    "套餐到期：2027-03-03",
    "套餐到期：长期有效",
    "剩餘流量: 1.5 TB",
    "⚠️ 剩余流量：1 GB",
    "官网 nachoneko.cc",
    "官网│https://example.com",
    "📢 公告:本周维护",
    "订阅已过期",
    "流量已耗尽",
    "您的套餐已过期，请及时续费",
    "过期时间：2026-09-17 12:00:00",
    "已用流量：3.2GB / 100GB",
    "Traffic: 12.5 GB | 100 GB",
    "Expire: 2027-05-02",
    "Expire Time: 2099",
    "Expire: Never",
    "Traffic: unlimited",
    "Remaining Traffic: 0 B",
    "Reset in 12 days",
    "Days left: 5",
    "5 days left",
    "Subscription Expired",
    "Subscribe Expired",
    "✖ Package Ended",
    "App not supported",
    "Your subscription has expired",
    "Data limit reached",
    "⏳ 1.2/50GB 📅 30 days",
    "⏳ 30 days",
    "📊 12.5 GB | ⏳ 20 days",
    "12.5 GB / 100 GB",
    "Traffic_Left: 12GB",
    "Остаток трафика: 12 ГБ",
    "Осталось 5 дней",
    "Осталось: 12,5 ГБ из 50 ГБ",
    "Подписка истекла",
    "Подписка до 31.12.2026",
    "Активна до: 01.02.2027",
    "Срок действия: до 12.12.2026",
    "Трафик: 3.5 / 50 ГБ",
    "Лимит исчерпан",
    "Трафик закончился",
    "⛔ Срок подписки истёк",
    "⛔ Подписка отключена",
    "⛔ Лимит трафика исчерпан",
    "Сайт: example.com",
    "Продлите подписку",
    "حجم باقی\u200cمانده: 12 گیگابایت",
    "زمان باقیمانده: ۵ روز",
    "اشتراک منقضی شده است",
    "⛔ اشتراک غیرفعال است",
    "حجم مجاز تمام شده است",
    "تاریخ انقضا: 1405/03/02",
    "Website: https://example.com",
    "Expires on 3 Mar 2027",
]
SERVERS = [
    "🇭🇰 HK 01",
    "HK 01",
    "DE-1 | 12 GB left | expires in 20 days",
    "美国流量优化节点",
    "套餐专线",
    "香港 不限流量",
    "Unlimited traffic",
    "Unlimited",
    "Traffic DE",
    "Germany 10 Gbps",
    "DE 100GB",
    "1 GB",
    "001",
    "",
    "Data Center 1",
    "Plan B",
    "Premium",
    "Berlin",
    "Reset Germany",
    "🇩🇪 12 GB left",
    "VPN 1",
    "Server 2026",
    "Amsterdam 2026-01-01",
    "Site A",
    "Сервер 1",
    "До Берлина",
    "Безлимит",
    "Москва до 100 Мбит",
    "آلمان",
    "برلین حجم",
    "Node 5 days",
    "Active",
    "5G",
    "Used cars",
    "Left 1",
    "May",
    "Резервный 1",
    "WireGuard",
    "Datacamp",
    "Expireland",
    "SG 03",
    "@channel",
    "https://t.me/channel",
    "t.me/channel",
    "Telegram: @x",
    "IPv4/6 1GB",
    "2x",
    "10G",
    "1.5x 流量",
    "Traffic 2",
]


@pytest.mark.parametrize("name", NOTES)
def test_a_note_about_the_account_is_known(name: str) -> None:
    assert is_note(name)


@pytest.mark.parametrize("name", SERVERS)
def test_a_name_with_any_other_content_belongs_to_a_server(name: str) -> None:
    assert not is_note(name)


@pytest.mark.parametrize("around", ["⚠️ {}", "[{}]", "{} ", "★ {} ★"])
def test_decoration_changes_nothing(around: str) -> None:
    assert [name for name in NOTES if not is_note(around.format(name))] == []


@pytest.mark.parametrize("server", ["🇩🇪 {}", "Berlin {}", "Москва 1 {}", "香港 {}"])
def test_a_server_whose_panel_writes_the_traffic_into_its_name_stays(server: str) -> None:
    assert [name for name in NOTES if is_note(server.format(name))] == []


@pytest.mark.parametrize(
    ("name", "mentions"),
    [
        ("剩余流量：1 GB", True),
        ("套餐：高级会员", True),
        ("Plan: Premium", True),
        ("Тариф Премиум", True),
        ("DE-1 | 12 GB left", True),
        ("HK 01", False),
        ("Berlin", False),
        ("Москва", False),
        ("", False),
    ],
)
def test_a_name_that_mentions_the_account_is_known(name: str, mentions: bool) -> None:
    assert mentions_account(name) is mentions


@pytest.mark.parametrize(
    "text",
    [
        *(
            texts[state]
            for texts in _TEXTS.values()
            for state in ("disabled", "expired", "limited")
        ),
        *(told.format(names="Berlin, Paris") for told, _ in _USED_UP.values()),
    ],
)
def test_our_own_notices_are_known_by_another_panel_of_ours(text: str) -> None:
    assert is_note(f"⛔ {text}")


@given(st.text(max_size=255))
def test_any_name_with_a_flag_belongs_to_a_server(name: str) -> None:
    assert not is_note(f"{name}🇩🇪")
