"""Shapes of values that callers choose, as regular expressions without anchors."""

# An ``Idempotency-Key``, or the ``event_id`` of a report: visible ASCII characters.
IDEMPOTENCY_KEY = r"[!-~]{1,64}"
