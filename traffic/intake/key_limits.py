"""Refuses the rows that an API key may not report, because it is limited to groups of subscribers or to servers."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from operations.extension import limits_of, people_within
from operations.models import ApiKey
from traffic.key_options import allows_server
from traffic.ledger import metered_people
from traffic.models import Subscriber
from traffic.readings import Message, Reading
from traffic.reports import Decoded, Errors, Report

R = TypeVar("R", Report, Reading)
_PERSON = "This key may not report about this person."
_SERVER = "This key may not report about this server."
# Tokens per query.
_STEP = 500


def is_limited(key: ApiKey | None) -> bool:
    return key is not None and bool(limits_of(key.options))


def within_reports(decoded: Decoded, key: ApiKey | None) -> Decoded:
    if key is None or not is_limited(key):
        return decoded
    tokens = {place: report.user_token for place, report in decoded.reports.items()}
    refused = _refused(decoded.reports, tokens, key)
    return msgspec.structs.replace(
        decoded,
        reports=_without(decoded.reports, refused),
        rejected=decoded.rejected | refused,
    )


def within_readings(message: Message, key: ApiKey | None) -> Message:
    if key is None or not is_limited(key):
        return message
    names = {row.person for row in message.readings.values() if row.person}
    named = metered_people.tokens_of(names, key=key.pk, meter=message.meter)
    tokens = {
        place: row.user_token or named.get(metered_people.folded(row.person), "")
        for place, row in message.readings.items()
    }
    refused = _refused(message.readings, tokens, key)
    return msgspec.structs.replace(
        message,
        readings=_without(message.readings, refused),
        rejected=message.rejected | refused,
    )


def _refused(rows: Mapping[int, R], tokens: Mapping[int, str], key: ApiKey) -> dict[int, Errors]:
    strangers = _strangers(set(tokens.values()), key)
    refused: dict[int, Errors] = {}
    for place, row in rows.items():
        if tokens[place] in strangers:
            field = "person" if isinstance(row, Reading) and row.person else "user_token"
            refused[place] = {field: [_PERSON]}
        elif not allows_server(key, row.server, row.port):
            refused[place] = {"server": [_SERVER]}
    return refused


def _strangers(tokens: set[str], key: ApiKey) -> set[str]:
    """Tokens of subscribers whom the key may not name. Unknown tokens are refused elsewhere."""
    ids: dict[str, int] = {}
    ordered = sorted(tokens)
    for start in range(0, len(ordered), _STEP):
        known = Subscriber.objects.visible().filter(token__in=ordered[start : start + _STEP])
        ids |= dict(known.values_list("token", "pk"))
    allowed = people_within(key.options, ids.values())
    return {token for token, pk in ids.items() if pk not in allowed}


def _without(rows: Mapping[int, R], refused: Mapping[int, Errors]) -> dict[int, R]:
    return {place: row for place, row in rows.items() if place not in refused}
