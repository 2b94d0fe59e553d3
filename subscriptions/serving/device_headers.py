"""The headers by which apps identify their device, and those that tell them why they get no list. Happ began them."""

from collections.abc import Mapping

from subscriptions.devices import Admission, Identity

from . import headers, notices
from .clients import client_of

# The most characters of an id, and of what is stored of a device.
_MOST_OF_ID, _MOST = 256, 64


def identity(told: Mapping[str, str]) -> Identity:
    """What the headers of a request tell. An id that is too long counts as none."""
    own = told.get("X-Hwid", "").strip()
    return Identity(
        own if len(own) <= _MOST_OF_ID else "",
        _readable(told.get("X-Device-Os", "")),
        _readable(told.get("X-Ver-Os", "")),
        _readable(told.get("X-Device-Model", "")),
        client_of(told.get("User-Agent", "")).name,
    )


def _readable(value: str) -> str:
    """Headers are decoded as Latin-1, but apps send UTF-8."""
    text = value.encode("latin-1", "replace").decode(errors="replace")
    return "".join(filter(str.isprintable, text)).strip()[:_MOST]


def notice(admission: Admission, limit: int | None, language: str) -> str:
    """Why the device gets no list, in words."""
    if admission is Admission.NOT_IDENTIFIED or limit is None:
        return notices.unknown_device(language)
    return notices.too_many_devices(limit, language)


def answer(admission: Admission, told: str) -> dict[str, str]:
    """``told``: the notice. Apps take ``X-Hwid-Limit`` for a refusal, so it comes with one alone."""
    if admission is Admission.UNLIMITED:
        return {}
    common = {
        "X-Hwid-Active": "true",
        "Vary": "User-Agent, Accept, Accept-Language, X-Hwid",
    }
    if admission.gets_list:
        return common
    reason = (
        "X-Hwid-Not-Supported"
        if admission is Admission.NOT_IDENTIFIED
        else "X-Hwid-Max-Devices-Reached"
    )
    return common | {reason: "true", "X-Hwid-Limit": "true", "Announce": headers.readable(told)}
