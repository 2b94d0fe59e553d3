"""The flag of the country that a server's name tells: from a table here, without any network. Pure.

Names of countries in English, Russian, Chinese and Persian, large places of servers, and codes in capital letters at
the beginning of a name (``DE-1``). A name that tells two countries, as a relay between them does, gets the first.
"""

import itertools
import re

_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_CODE = re.compile(r"[^\w]*([A-Z]{2})(?![A-Za-z])")
_WORDS = re.compile(r"[^\W\d_]+")
_REGIONAL_A = 0x1F1E6
# Spaces separate names; an underscore stands for a space in a name.
_TABLE = """
AE emirates dubai united_arab_emirates эмираты оаэ дубай 阿联酋 迪拜 امارات دبی
AM armenia yerevan армения ереван 亚美尼亚 ارمنستان
AR argentina аргентина 阿根廷 آرژانتین
AT austria vienna австрия вена 奥地利 اتریش
AU australia sydney melbourne австралия сидней 澳大利亚 澳洲 悉尼 استرالیا
AZ azerbaijan baku азербайджан баку 阿塞拜疆 آذربایجان
BE belgium brussels бельгия брюссель 比利时 بلژیک
BG bulgaria sofia болгария софия 保加利亚 بلغارستان
BR brazil brasil бразилия 巴西 برزیل
BY belarus minsk беларусь белоруссия минск 白俄罗斯 بلاروس
CA canada toronto montreal vancouver канада торонто 加拿大 多伦多 کانادا
CH switzerland swiss zurich швейцария цюрих 瑞士 苏黎世 سوئیس
CL chile чили 智利 شیلی
CN china beijing shanghai китай пекин шанхай 中国 北京 上海 چین
CY cyprus кипр 塞浦路斯 قبرس
CZ czech czechia prague чехия прага 捷克 چک
DE germany deutschland frankfurt berlin falkenstein nuremberg германия франкфурт берлин 德国 法兰克福 柏林 آلمان فرانکفورت
DK denmark copenhagen дания копенгаген 丹麦 دانمارک
EE estonia tallinn эстония таллин 爱沙尼亚 استونی
EG egypt египет 埃及 مصر
ES spain madrid испания мадрид 西班牙 马德里 اسپانیا
FI finland helsinki финляндия хельсинки 芬兰 赫尔辛基 فنلاند
FR france paris франция париж 法国 巴黎 فرانسه پاریس
GB uk britain england london united_kingdom великобритания англия лондон 英国 伦敦 انگلیس انگلستان بریتانیا لندن
GE georgia tbilisi грузия тбилиси 格鲁吉亚 گرجستان
GR greece athens греция афины 希腊 یونان
HK hong_kong hongkong гонконг 香港 هنگ_کنگ
HU hungary budapest венгрия будапешт 匈牙利 مجارستان
ID indonesia jakarta индонезия джакарта 印尼 印度尼西亚 اندونزی
IE ireland dublin ирландия дублин 爱尔兰 ایرلند
IL israel tel_aviv израиль 以色列 اسرائیل
IN india mumbai bangalore индия мумбаи 印度 孟买 هند
IR iran tehran иран тегеран 伊朗 ایران تهران
IS iceland reykjavik исландия 冰岛 ایسلند
IT italy milan rome италия милан рим 意大利 米兰 ایتالیا
JP japan tokyo osaka япония токио осака 日本 东京 大阪 ژاپن توکیو
KR korea seoul south_korea корея сеул 韩国 首尔 کره سئول
KZ kazakhstan almaty astana казахстан алматы астана 哈萨克斯坦 قزاقستان
LT lithuania vilnius литва вильнюс 立陶宛 لیتوانی
LU luxembourg люксембург 卢森堡 لوکزامبورگ
LV latvia riga латвия рига 拉脱维亚 لتونی
MD moldova chisinau молдова молдавия кишинев 摩尔多瓦 مولداوی
MX mexico мексика 墨西哥 مکزیک
MY malaysia kuala_lumpur малайзия 马来西亚 吉隆坡 مالزی
NL netherlands holland amsterdam нидерланды голландия амстердам 荷兰 阿姆斯特丹 هلند آمستردام
NO norway oslo норвегия осло 挪威 奥斯陆 نروژ
NZ new_zealand auckland новая_зеландия 新西兰 نیوزیلند
PH philippines manila филиппины манила 菲律宾 فیلیپین
PL poland warsaw польша варшава 波兰 华沙 لهستان ورشو
PT portugal lisbon португалия лиссабон 葡萄牙 پرتغال
RO romania bucharest румыния бухарест 罗马尼亚 رومانی
RS serbia belgrade сербия белград 塞尔维亚 صربستان
RU russia moscow petersburg россия москва петербург 俄罗斯 莫斯科 روسیه مسکو
SA saudi saudi_arabia саудовская_аравия 沙特 عربستان
SE sweden stockholm швеция стокгольм 瑞典 斯德哥尔摩 سوئد استکهلم
SG singapore сингапур 新加坡 狮城 سنگاپور
SK slovakia bratislava словакия братислава 斯洛伐克 اسلواکی
TH thailand bangkok таиланд тайланд бангкок 泰国 曼谷 تایلند
TR turkey türkiye turkiye istanbul турция стамбул 土耳其 伊斯坦布尔 ترکیه استانبول
TW taiwan taipei тайвань тайбэй 台湾 台北 تایوان
UA ukraine kyiv kiev украина киев 乌克兰 اوکراین
US usa america united_states los_angeles new_york seattle dallas chicago miami san_jose сша америка 美国 洛杉矶 纽约 硅谷 آمریکا
UZ uzbekistan tashkent узбекистан ташкент 乌兹别克斯坦 ازبکستان
VN vietnam hanoi вьетнам ханой 越南 河内 ویتنام
ZA south_africa johannesburg юар 南非 آفریقای_جنوبی
"""
_ROWS = [line.split() for line in _TABLE.strip().splitlines()]
_BY_NAME = {name.replace("_", " "): row[0] for row in _ROWS for name in row[1:]}
# The countries of the table.
CODES = frozenset(row[0] for row in _ROWS)
_CODES = {row[0]: row[0] for row in _ROWS} | {"UK": "GB"}
# Chinese does not separate words.
_UNSPACED = {name: code for name, code in _BY_NAME.items() if "\u4e00" <= name[0] <= "\u9fff"}


def with_flag(name: str, original: str) -> str:
    """The name with its country's flag in front, unless a flag is in it. ``original``: before it was changed."""
    if _FLAG.search(name):
        return name
    code = country(name) or country(original)
    return f"{flag(code)} {name}" if code else name


def country_of(name: str) -> str:
    """As ``country``, but a flag in the name wins, whether the table knows it or not."""
    found = _FLAG.search(name)
    if found is None:
        return country(name)
    return "".join(chr(ord(letter) - _REGIONAL_A + ord("A")) for letter in found[0])


def country(name: str) -> str:
    """The code of the country that a name tells; empty if it tells none."""
    code = _CODE.match(name)
    if code and code[1] in _CODES:
        return _CODES[code[1]]
    words = _WORDS.findall(name.casefold().replace("ي", "ی").replace("ك", "ک"))
    pairs = [" ".join(pair) for pair in itertools.pairwise(words)]
    found = [each for word, pair in zip(words, [*pairs, ""], strict=False) for each in (pair, word)]
    known = (_BY_NAME[text] for text in found if text in _BY_NAME)
    return next(known, "") or _in_unspaced(name)


def _in_unspaced(name: str) -> str:
    places = [
        (name.find(text), -len(text), code) for text, code in _UNSPACED.items() if text in name
    ]
    return min(places)[2] if places else ""


def flag(code: str) -> str:
    return "".join(chr(_REGIONAL_A + ord(letter) - ord("A")) for letter in code)
