"""Tokens that subscribers no longer have, so that open access creates nobody for them."""

import hashlib
from collections.abc import Iterable, Mapping

from operations.extension import extensions
from traffic.models import RetiredToken


def replaced(tokens: Mapping[int, str]) -> None:
    """Retire the tokens that subscribers (ids) had until now. Call it in the transaction that replaces them."""
    if not tokens:
        return
    retire(tokens.values())
    for extension in extensions():
        if extension.token_replaced:
            extension.token_replaced(tokens)


def retire(tokens: Iterable[str]) -> None:
    retired = [RetiredToken(digest=_digest(token)) for token in tokens]
    RetiredToken.objects.bulk_create(retired, ignore_conflicts=True)


def never_retired(tokens: Iterable[str]) -> list[str]:
    """Those of these tokens that no subscriber had before."""
    digests = {_digest(token): token for token in tokens}
    retired = RetiredToken.objects.filter(pk__in=digests).values_list("pk", flat=True)
    return [digests[digest] for digest in digests.keys() - set(retired)]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
