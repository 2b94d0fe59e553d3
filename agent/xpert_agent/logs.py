"""The agent's log: to standard error, without secrets."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable


class _Masking(logging.Filter):
    """Replaces known secrets in what is logged, wherever they come from."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = sorted(
            (secret for secret in secrets if len(secret) >= 4), key=len, reverse=True
        )

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = masked(record.getMessage(), self._secrets), ()
        return True


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` with at most the first third of each secret, and never more than 4 characters."""
    for secret in secrets:
        text = text.replace(secret, f"{secret[: min(len(secret) // 3, 4)]}…")
    return text


def log_to_stderr(secrets: Iterable[str] = ()) -> None:
    """Again with more secrets when they are known."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    )
    handler.addFilter(_Masking(secrets))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
