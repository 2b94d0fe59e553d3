"""A description of this app's data in a backup."""

from collections.abc import Mapping

from operations.units import format_size
from traffic.models import Subscriber, Usage


def backup_summary(held: Mapping[str, int]) -> str:
    """``12 subscribers, 345 records, 1.50 GB up, 2.00 GB down``, from totals by table or ``table.column``."""
    people, records = Subscriber._meta.db_table, Usage._meta.db_table  # noqa: SLF001
    upload, download = (held.get(f"{records}.{name}", 0) for name in ("upload", "download"))
    return (
        f"{held.get(people, 0)} subscribers, {held.get(records, 0)} records, "
        f"{format_size(upload)} up, {format_size(download)} down"
    )
