"""User-Agents as the apps really send them."""

import pytest

from subscriptions.serving.clients import NAMES, client_of


@pytest.mark.parametrize(
    ("user_agent", "name", "format_name", "total_is_quota"),
    [
        ("HiddifyNext/4.1.0 (android) like ClashMeta v2ray sing-box", "hiddify", "plain", True),
        ("v2rayNG/2.3.1", "v2rayng", "plain", True),
        ("v2rayN/7.15.0", "v2rayn", "plain", True),
        ("clash-verge/v2.5.0", "clash-verge", "mihomo", True),
        ("clash.meta/v1.19.32", "mihomo", "mihomo", True),
        ("mihomo/1.19.32", "mihomo", "mihomo", True),
        ("ClashMetaForAndroid/2.11.0.Meta", "mihomo", "mihomo", True),
        ("FlClash/v0.8.90 clash-verge Platform/android", "flclash", "mihomo", True),
        ("ClashX Meta/1.4", "mihomo", "mihomo", True),
        ("ClashforWindows/0.20.39", "clash", "mihomo", True),
        ("clash-nyanpasu/v1.6.1", "clash", "mihomo", True),
        ("Clash Verge/1.3.8", "clash-verge", "mihomo", True),
        ("FlClashX/v0.2.0 clash-verge Platform/android", "flclash", "mihomo", True),
        ("koala-clash/v1.0.0", "clash", "mihomo", True),
        ("prizrak-box/v1.0.10", "clash", "mihomo", True),
        ("Stash/3.1.0 Clash/1.9.0", "stash", "mihomo", True),
        ("SFA/1.14.4 (600; sing-box 1.14.4; language en_US)", "sing-box", "sing-box", True),
        ("SFI/1.13.0 (Build 1; sing-box 1.13.0; language ru_RU)", "sing-box", "sing-box", True),
        ("SFM/1.13.0", "sing-box", "sing-box", True),
        ("SFT/1.13.0", "sing-box", "sing-box", True),
        ("sing-box 1.14.4", "sing-box", "sing-box", True),
        ("GUI.for.SingBox/v1.16.0", "sing-box", "sing-box", True),
        ("GUI.for.Clash/v1.9.9", "clash", "mihomo", True),
        ("murge/1.0", "clash", "mihomo", True),
        ("Flowvy/1.0", "clash", "mihomo", True),
        ("Surge iOS/3406", "other-vpn-app", "plain", True),
        ("Loon/780 CFNetwork/1494.0.7 Darwin/23.4.0", "other-vpn-app", "plain", True),
        ("Surfer/1.0", "other", "plain", False),
        ("Karing/1.0.30", "karing", "sing-box", True),
        ("NekoBox/Android/1.4.2 (Prefer ClashMeta Format)", "nekobox", "plain", True),
        ("Happ/3.5.0", "happ", "plain", True),
        ("Streisand/1.6", "streisand", "plain", True),
        ("Shadowrocket/2070 CFNetwork/1410.0.3 Darwin/22.6.0", "shadowrocket", "plain", True),
        ("v2raytun/ios", "v2raytun", "plain", True),
        ("INCY/1.0", "incy", "plain", True),
        ("curl/8.5.0", "curl", "plain", False),
        ("python-requests/2.34.2", "python", "plain", False),
        ("Mozilla/5.0 (X11; Linux x86_64) like clash", "browser", "plain", False),
        ("", "other", "plain", False),
        ("Happiness/1.0", "other", "plain", False),
        ("sparkle/v1.6.2 (clash.meta)", "mihomo", "mihomo", True),
        ("Lightboat-Android/1 (Clash.Meta)", "mihomo", "mihomo", True),
        ("OpenClash/0.46.075", "clash", "mihomo", True),
        ("okhttp/4.9.0 ClashMetaForAndroid/2.10", "mihomo", "mihomo", True),
        ("Fork/2 clash-verge/v2.4", "clash", "mihomo", True),
        ("Router mihomo/1.19.10", "mihomo", "mihomo", True),
        ("InHive/4.6.0 (build 100)", "sing-box", "sing-box", True),
        ("Fork/3.1 (sing-box 1.12.0; language ru_RU)", "sing-box", "sing-box", True),
        ("Fork/3.1 SingBox", "sing-box", "sing-box", True),
        ("Fork/1 (Prefer ClashMeta Format)", "other-vpn-app", "plain", True),
        ("Fork/1 (android) like ClashMeta v2ray sing-box", "other-vpn-app", "plain", True),
        ("Throne/1.0.5 (Prefer ClashMeta Format)", "nekobox", "plain", True),
        ("Exclave/0.16 (Prefer ClashMeta Format)", "other-vpn-app", "plain", True),
        (
            "Mozilla/5.0 (Linux; Android 14) TelegramBot (like TwitterBot)",
            "browser",
            "plain",
            False,
        ),
        ("curl/8.5.0 (clash.meta)", "curl", "plain", False),
        ("\n clash.meta", "mihomo", "mihomo", True),
    ],
)
def test_an_app_is_known_by_its_user_agent(
    user_agent: str, name: str, format_name: str, total_is_quota: bool
) -> None:
    assert client_of(user_agent)[:3] == (name, format_name, total_is_quota)


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("HAPP/1", "happ"),
        ("sfa/1.14.4", "sing-box"),
        ("CLASH.META/v1", "mihomo"),
        ("V2RAYTUN/1", "v2raytun"),
    ],
)
def test_case_does_not_matter(user_agent: str, name: str) -> None:
    assert client_of(user_agent).name == name


def test_every_name_fits_its_column() -> None:
    assert max(map(len, NAMES)) <= 32


@pytest.mark.parametrize(
    ("user_agent", "zero_is_1970"),
    [
        ("Happ/3.1.3", True),
        ("happ/3.1.3/ios", True),
        ("NekoBox/Android/1.4.2 (Prefer ClashMeta Format)", True),
        ("Throne/1.0.5", True),
        ("HiddifyNext/4.1.0", False),
        ("clash-verge/v2.5.0", False),
        ("curl/8.5.0", False),
        ("", False),
    ],
)
def test_apps_that_show_1970_for_never_are_known(user_agent: str, zero_is_1970: bool) -> None:
    assert client_of(user_agent).zero_is_1970 is zero_is_1970
