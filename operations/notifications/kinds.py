"""The kinds of events that all apps register."""

from operations.events import Kind
from operations.extension import extensions


def kinds() -> dict[str, Kind]:
    """All kinds by name, in the order of INSTALLED_APPS."""
    return {kind.name: kind for extension in extensions() for kind in extension.events}
