"""The body in which a gateway tells its state."""

import msgspec
from rest_framework.exceptions import ValidationError

from gateways import state
from operations.api.parsers import JSONParser


class StateParser(JSONParser):
    """Parses up to 64 KiB into ``state.State``."""

    def decode(self, body: bytes) -> state.State:
        try:
            return state.decode(body)
        except msgspec.ValidationError as error:
            raise ValidationError({"detail": str(error)}) from None
