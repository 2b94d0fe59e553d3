"""How much of a secret may be seen."""


def masked(secret: str) -> str:
    """At most the first third and never more than 4 characters, without characters that would break a line."""
    shown = secret[: min(4, len(secret) // 3)]
    return f"{shown}…" if shown.isprintable() else "…"
