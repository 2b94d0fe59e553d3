"""Moments kept as small integers: half the bytes of a timestamp, and groupable without a function."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.db import models

Set = TypeVar("Set")
Get = TypeVar("Get")

if TYPE_CHECKING:
    # To a type checker these hold moments, not numbers.
    class _IntegerField(models.Field[Set, Get]):
        _pyi_private_set_type: datetime | int
        _pyi_private_get_type: datetime
        _pyi_lookup_exact_type: datetime | int

else:

    class _IntegerField(models.BigIntegerField):
        __class_getitem__ = classmethod(lambda cls, *_: cls)


class _EpochField(_IntegerField[Set, Get]):
    unit: ClassVar[int]
    # Those of integers cannot compare moments.
    validators: ClassVar[list[Any]] = []

    @classmethod
    def to_number(cls, moment: datetime) -> int:
        return int(moment.timestamp()) // cls.unit

    @classmethod
    def to_moment(cls, number: int) -> datetime:
        return datetime.fromtimestamp(number * cls.unit, UTC)

    def from_db_value(self, value: int | None, *_: Any) -> datetime | None:
        return None if value is None else self.to_moment(value)

    def to_python(self, value: Any) -> datetime | None:
        return self.to_moment(value) if isinstance(value, int) else value

    def get_prep_value(self, value: Any) -> Any:
        return (
            self.to_number(value) if isinstance(value, datetime) else super().get_prep_value(value)
        )


class HourField(_EpochField[Set, Get]):
    """A UTC hour, stored as hours since 1970; in Python a datetime at its start."""

    unit = 3600

    def get_internal_type(self) -> str:
        return "IntegerField"


class DayField(_EpochField[Set, Get]):
    """A UTC day, stored as days since 1970; in Python a datetime at its start."""

    unit = 86_400

    def get_internal_type(self) -> str:
        return "IntegerField"


class SecondField(_EpochField[Set, Get]):
    """A UTC moment to the second, stored as seconds since 1970."""

    unit = 1
