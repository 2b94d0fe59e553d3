"""Sizes as operators write them."""

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from operations.units import GB, exact_size, parse_size
from traffic.admin.sizes import SizeField
from traffic.models import MAX_COUNTER


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50 GB", 50 * GB),
        ("50gb", 50 * GB),
        (" 1.5 TB ", 1536 * GB),
        ("1,5 TB", 1536 * GB),
        ("1 B", 1),
        ("1048576 B", 2**20),
        ("1024 PB", MAX_COUNTER),
    ],
)
def test_it_reads_what_a_person_writes(text: str, size: int) -> None:
    assert SizeField().clean(text) == size


@pytest.mark.parametrize("text", ["", "   ", None])
def test_empty_is_no_limit(text: str | None) -> None:
    assert SizeField(required=False).clean(text) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("fifty", "invalid"),
        ("50 parsecs", "invalid"),
        ("-1 GB", "invalid"),
        ("1e3 GB", "invalid"),
        ("1 GB\x00", "invalid"),
        ("9" * 500, "invalid"),
        ("0", "out_of_range"),
        ("0 GB", "out_of_range"),
        ("1024.1 PB", "out_of_range"),
        (f"{MAX_COUNTER + 1} B", "out_of_range"),
        ("0.5 B", "invalid"),
        ("9999999999999999999 PB", "out_of_range"),
        ("50", "no_unit"),
        ("1048576", "no_unit"),
        (str(MAX_COUNTER + 1), "no_unit"),
    ],
)
def test_it_says_what_is_wrong(text: str, code: str) -> None:
    with pytest.raises(ValidationError) as error:
        SizeField().clean(text)
    assert error.value.error_list[0].code == code


def test_a_forgotten_unit_is_asked_for() -> None:
    with pytest.raises(ValidationError) as error:
        SizeField().clean("50")
    assert error.value.messages == ["Is “50” in GB? Write the unit, for example 50 GB."]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1, "1 B"),
        (1023, "1023 B"),
        (50 * GB, "50 GB"),
        (1536 * GB, "1.5 TB"),
        (1234567890, "1234567890 B"),
        (2**60 - 1, "1152921504606846975 B"),
        (2**60, "1024 PB"),
    ],
)
def test_a_size_is_shown_in_the_largest_unit_that_is_exact(size: int, text: str) -> None:
    assert exact_size(size) == text


@given(st.integers(1, MAX_COUNTER))
def test_a_shown_size_reads_back_as_the_same_bytes(size: int) -> None:
    assert parse_size(exact_size(size)) == size
    field = SizeField()
    assert field.clean(field.prepare_value(size)) == size
    assert not field.has_changed(size, field.prepare_value(size))


@given(st.decimals(min_value="0.01", max_value=1000, places=2), st.sampled_from(["MB", "GB", "TB"]))
def test_a_size_typed_with_two_decimals_is_shown_with_no_more(number: object, unit: str) -> None:
    size = parse_size(f"{number} {unit}")
    assert len(exact_size(size)) <= len(f"{number} {unit}") + 3


def test_a_size_that_cannot_be_read_has_changed() -> None:
    assert SizeField().has_changed(GB, "fifty")


def test_a_refused_value_stays_in_the_field() -> None:
    assert SizeField().prepare_value("fifty") == "fifty"
