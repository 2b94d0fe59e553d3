"""Recognises "servers" whose name is a note about the account: traffic left, expiry, an announcement. Pure.

V2Board and XBoard put such lines at the top of a list, as copies of its first server. A name counts as a note only
if it holds nothing else: "DE 1 | 12 GB left" is a server of a panel that writes the traffic into each name.
"""

import re
import unicodedata

# Labels of an account's figures in simplified and traditional Chinese, English, Russian and Persian.
_QUANTITY = (
    "剩[余餘]|流量|到期|[过過]期|重置|有效期|已用|已使用"
    r"|\b(?:traffic|remain\w*|expir\w*|resets?|quota|bandwidth|usage|used|left|data|limit|until|subscription)\b"
    r"|\b(?:оста[лт]\w*|трафик\w*|израсходован\w*|использован\w*|потрачен\w*|срок\w*|истека\w*|действ\w*|сброс\w*"
    r"|лимит\w*|окончани\w*|активн\w*|до)\b"
    r"|\b(?:باقی\s?مانده|مانده|حجم|ترافیک|مصرف\w*|انقضا\w*|بازنشانی|ریست|اعتبار|مهلت)\b"
)
# The account has ended; no figure is needed.
_STATE = (
    "已[过過]期|已到期|耗[尽盡]|已?用[尽盡完]|失效|[续續][费費]|已停用|已禁用"
    r"|\b(?:expired|ended|finished|exhausted|exceeded|disabled|suspended|banned|deactivated|inactive|unsupported"
    r"|overdue|renew|used up|out of traffic|limit reached|not (?:supported|active))\b"
    r"|\b(?:ист[её]к(?:ла|ло|ли)?|(?:за)?кончил\w*|окончен\w*|завершен\w*|отключ[её]н\w*|заблокирован\w*|исчерпан\w*"
    r"|просрочен\w*|приостановлен\w*|неактивн\w*|продлите|оплатите|не (?:активн|поддерживает)\w*)\b"
    r"|\b(?:منقضی|تمام شد\w*|(?:به )?پایان (?:رسید\w*|یافت\w*)|غیرفعال|تمدید|مسدود)\b"
)
_FOREVER = r"[长長]期有效|永久|不限(?:[时時][间間])?|[无無]限|\b(?:never|unlimited|no limit|бессрочно|безлимит\w*|никогда|نامحدود)\b|∞"
_FILLER = (
    "距[离離]?|下次|套餐|[订訂][阅閱]|[时時][间間]|日期|小[时時]|分[钟鐘]|您的?|你的?|[请請]|及[时時]|[账帳][号號户戶]"
    "|当前|使用|信息|[总總]|更新|尽快|[还還]|[将將]|已|天|日|月|年|于|至|后|前|了|的"
    r"|\b(?:your|the|is|has|been|was|account|user|subscribe|sub|package|plan|service|vpn|app|client|please|on|in|at|of"
    r"|to|for|till|time|date|next|total|no|all|now|will|be|info|update|days?|hours?|months?|years?|utc|reached)\b"
    r"|\b(?:подписк\w*|ваш\w*|аккаунт\w*|пользовател\w*|тариф\w*|пакет\w*|услуг\w*|от|из|за|на|в|через|и|дата|время|всего"
    r"|доступно|данн\w*|пожалуйста|впн|приложени\w*|клиент|нет|ещ[её]|уже|г|года?|дн\w*|день|час\w*|мес\w*)\b"
    r"|\b(?:اشتراک|سرویس|بسته|شما|روز\w*|ساعت|ماه|سال|از|تا|در|به|و|است|شده|شد|کاربر|حساب|تاریخ|زمان|کل|مجاز|کنید|را|لطفا)\b"
)
_MONTHS = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?|января|февраля|марта|апреля|мая|июня|июля|августа|сентября|октября|ноября|декабря"
)
# Bounded, so that a long run of digits is cheap to match.
_NUMBER = r"(?<!\d)\d{1,12}(?:[.,]\d{1,6})?"
_AMOUNT = rf"{_NUMBER}\s*(?:[kmgtp]i?b?|bytes?|b|[кмгтп]б|гигабайт\w*|گیگ\w*|مگ\w*|ترا\w*)\b"
_TIME = rf"{_NUMBER}\s*(?:个?(?:天|小时|月)|(?:d|h|days?|hours?|months?|дн\w*|день|ч|час\w*|мес\w*|روز|ساعت|ماه)\b)"
_DATE = (
    r"\d{4}\s?[-./年]\s?\d{1,2}\s?[-./月]\s?\d{1,2}日?(?:[ t]+\d{1,2}:\d\d(?::\d\d)?)?"
    r"|\d{1,2}(?P<between>[-./])\d{1,2}(?P=between)\d{2,4}(?: +\d{1,2}:\d\d(?::\d\d)?)?"
    rf"|\d{{1,2}} (?:{_MONTHS}) \d{{4}}|\b(?:{_MONTHS}) \d{{1,2}},? \d{{4}}"
)
_FIGURE = re.compile(rf"{_DATE}|{_NUMBER}\s*/\s*(?={_NUMBER})|{_AMOUNT}|{_TIME}|{_NUMBER}\s*%")
# These count only after a colon, because "Unlimited traffic" and "Traffic 2" are probably names of servers.
_VALUE = re.compile(rf"[:=]\s*(?:\d|{_FOREVER})")
_KNOWN = re.compile(f"{_STATE}|{_QUANTITY}|{_FOREVER}|{_FILLER}")
_IS_STATE, _IS_QUANTITY = re.compile(_STATE), re.compile(_QUANTITY)
# Decoration beside a date or an amount.
_CLOCKS = re.compile("[⌛⏳⏰⏱📅📆🗓📊📈🔋]")
_ANNOUNCEMENT = re.compile(
    r"\W*(?:(?:最新|官方|[备備]用)*(?:官[网網]|[网網][址站])|公告|通知|客服"
    r"|announcement|notice|(?:official |our )?web ?site|home ?page"
    r"|объявление|(?:наш |официальный )?сайт|(?:тех)?поддержка"
    r"|اطلاعیه|(?:وب ?)?سایت|پشتیبانی)\s*(?:[:=|│丨]|[\s—-]\s*\S+\.\w)"
)
# A panel like this one says so of some servers, and names them after the colon.
_USED_UP = re.compile(rf"⛔ [^:]*(?:{_STATE})[^:]*:")
# Reason enough to prefer another name of the same server, but not to leave the server out.
_MENTION = re.compile(
    f"{_QUANTITY}|{_STATE}|套餐|[订訂][阅閱]|官[网網]|[网網][址站]|公告|客服"
    r"|\b(?:plan|package|web ?site|account)\b|\b(?:подписк|тариф|сайт|аккаунт)\w*|(?:اشتراک|بسته|سایت|سرویس)"
)
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")
_SPELLINGS = str.maketrans({"ي": "ی", "ك": "ک", "\u200c": " ", "\ufe0f": None, "_": " "})


def is_note(name: str) -> bool:
    """Whether a name is only about the account."""
    text = _normal(name)
    if _FLAG.search(text):
        return False
    is_said = _ANNOUNCEMENT.match(text) or _USED_UP.match(text)
    return is_said is not None or _is_about_account(text)


def mentions_account(name: str) -> bool:
    """Whether a name says anything about the account."""
    return is_note(name) or _MENTION.search(_normal(name)) is not None


def _normal(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().translate(_SPELLINGS)


def _is_about_account(text: str) -> bool:
    without_figures, figures = _FIGURE.subn(" ", text)
    rest = _KNOWN.sub(" ", without_figures)
    if any(letter.isalpha() for letter in rest):
        return False
    if _IS_STATE.search(without_figures):
        return True
    if _IS_QUANTITY.search(without_figures):
        return figures > 0 or _VALUE.search(without_figures) is not None
    return figures > 1 or (figures == 1 and _CLOCKS.search(text) is not None)
