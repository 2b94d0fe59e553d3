"""Formatters of log lines, in text and JSON."""

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.http import HttpRequest

from operations.masks import masked

from .context import TOKEN, current_id
from .masking import masked_path, scrubbed, sent, subject_names


class Answered(NamedTuple):
    """The parts of a request's log line."""

    request: HttpRequest
    method: str
    route: str
    status: int
    milliseconds: float

    def fields(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "route": self.route,
            "path": masked_path(self.request),
            "status": self.status,
            "ms": round(self.milliseconds, 1),
            "token": self.token,
        }

    @property
    def token(self) -> str:
        """The masked token that a request names: in the body if it is a report, otherwise in the path or query."""
        request = self.request
        match = request.resolver_match
        named = (*(match.kwargs.items() if match else ()), *sent(request))
        found = request.META.get(TOKEN) or _subject(named)
        return masked(found) if found else ""


def _subject(named: Iterable[tuple[str, str]]) -> str:
    return next((value for name, value in named if value and name in subject_names()), "")


def write_request(logger: logging.Logger, answered: Answered) -> None:
    """Write the log line of one request."""
    request = answered.request
    token = request.META.get(TOKEN)
    logger.info(
        "%s %s %s %.1fms%s",
        answered.method,
        masked_path(request),
        answered.status,
        answered.milliseconds,
        f" {masked(token)}" if token else "",
        extra={"answered": answered},
    )


class ClientMistakes(logging.Filter):
    """Removes the traceback of client errors (a wrong host, too many fields), which would only show our own code."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security"):
            record.exc_info = None
        return True


class TextFormatter(logging.Formatter):
    """For a terminal or the journal. The id of the request, if any, is in brackets at the end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        id_ = current_id()
        line = super().formatMessage(record)
        return f"{line} [{id_}]" if id_ else line

    def format(self, record: logging.LogRecord) -> str:
        return _clean(record, super().format(record))


class JSONFormatter(logging.Formatter):
    """One JSON object per line, for programs that collect logs."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _clean(record, record.getMessage()),
        }
        if id_ := current_id():
            fields["request_id"] = id_
        answered: Answered | None = getattr(record, "answered", None)
        if answered is not None:
            fields |= answered.fields()
        if record.exc_info:
            fields["traceback"] = scrubbed(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


def _clean(record: logging.LogRecord, text: str) -> str:
    """Mask secrets. Lines below a warning are only our own and hold no secrets."""
    return scrubbed(text) if record.levelno >= logging.WARNING else text
