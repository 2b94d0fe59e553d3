"""What a gateway's agent tells of it: what runs there, what it refuses, and the public halves of its keys."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from . import hours
from .hours import Totals
from .models import Gateway

_Text = Annotated[str, msgspec.Meta(max_length=64)]
_Sentence = Annotated[str, msgspec.Meta(max_length=1000)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Names = Annotated[list[_Text], msgspec.Meta(max_length=100)]
_Reasons = Annotated[dict[Annotated[str, msgspec.Meta(max_length=300)], _Sentence], msgspec.Meta(max_length=100)]  # fmt: skip
# Characters of a sentence that are kept.
_SHOWN = 500
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[A-Za-z0-9+/_-]{43}=?")


class Certificate(msgspec.Struct, frozen=True):
    """``sha256``: in hexadecimal; ``public_key_sha256``: in base64; ``ends_at``: Unix seconds."""

    sha256: str
    public_key_sha256: str
    ends_at: Annotated[int, msgspec.Meta(ge=0, le=2**37)]

    def __post_init__(self) -> None:
        if not (_SHA256.fullmatch(self.sha256) and _KEY.fullmatch(self.public_key_sha256)):
            raise ValueError("not the pins of a certificate")


class State(msgspec.Struct, frozen=True):
    """``left_out``: the reasons by name. ``online``: None when the core does not say.

    ``deaths``: how often the core has ended without being told to. ``carried``: None until it was read.
    """

    agent: _Text = ""
    core: _Text = ""
    tags: _Names = []
    complaint: _Sentence = ""
    left_out: _Reasons = {}
    reloads: _Count = 0
    deaths: _Count = 0
    carried: Totals | None = None
    online: _Count | None = None
    reality_public_key: str = ""
    certificate: Certificate | None = None

    def __post_init__(self) -> None:
        key = self.reality_public_key
        if key and not _KEY.fullmatch(key):
            raise ValueError("not a public key")


_decode = msgspec.json.Decoder(State).decode


def decode(body: bytes) -> State:
    """Raises msgspec.ValidationError for another form, and msgspec.DecodeError for a body that is not JSON."""
    return _decode(body)


def store(gateway: Gateway, state: State, now: datetime) -> None:
    """The lists change when what they pin does."""
    rows = Gateway.objects.filter(pk=gateway.pk)
    rows.update_quietly(seen_at=now, **_figures(state))
    if state.carried is not None:
        hours.book(gateway.pk, state.carried, now)
    pinned = _pinned(gateway, state)
    if any(getattr(gateway, name) != value for name, value in pinned.items()):
        rows.update(**pinned)


def _figures(state: State) -> dict[str, Any]:
    certificate = state.certificate
    ends_at = datetime.fromtimestamp(certificate.ends_at, UTC) if certificate else None
    return {
        "agent_version": state.agent,
        "core_version": state.core,
        "core_tags": state.tags,
        "complaint": state.complaint[:_SHOWN],
        "left_out": {name: why[:_SHOWN] for name, why in state.left_out.items()},
        "reloads": state.reloads,
        "deaths": state.deaths,
        "online": state.online,
        "certificate_ends_at": ends_at,
    }


def _pinned(gateway: Gateway, state: State) -> dict[str, str]:
    """Pins that the agent leaves out stay as they were: apps go on with what they have."""
    found = {}
    if state.reality_public_key:
        found["reality_public_key"] = state.reality_public_key
    if state.certificate and not gateway.certificate:
        found["certificate_pin"] = state.certificate.sha256
        found["public_key_pin"] = state.certificate.public_key_sha256
    return found
