"""Deletes whom of an old panel an erased person was. Moved in again, they would be somebody new."""

from operations.databases.transactions import write_transaction

from .models import OldAccount


@write_transaction
def erase(subscriber: int) -> int:
    """Return the number of rows."""
    return OldAccount.objects.filter(subscriber=subscriber).delete()[0]
