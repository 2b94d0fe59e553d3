import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.units import GB, UnitMissing, exact_size, format_size, gigabytes, parse_size


@pytest.mark.parametrize(
    ("size", "written"),
    [
        (0, 0.0),
        (GB, 1.0),
        (GB // 2000 - 1, 0.0),
        (GB // 2000 + 1, 0.001),
        (int(2.456 * GB), 2.456),
        (2**50, 1048576.0),
        (2**60, 1073741824.0),
    ],
)
def test_a_gb_is_2_to_the_30_and_has_three_decimals(size: int, written: float) -> None:
    assert gigabytes(size) == written


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("0.0", 0), ("0 GB", 0), ("1073741824 B", GB), ("50Gi", 50 * GB), ("50GB", 50 * GB), ("50 gb", 50 * GB), ("50G", 50 * GB), ("50GiB", 50 * GB),
        ("1.5 TB", 3 * 2**39), ("1,5TB", 3 * 2**39), ("700 mb", 700 * 2**20), ("1KB", 1024), ("512 B", 512), ("1 PB", 2**50),
        (" 1 GB ", GB), ("1.5 B", 1), ("0.001 KB", 1), ("1234567890123.123456 KB", 1264197519486078),
    ],
)  # fmt: skip
def test_it_reads_a_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "GB",
        "-1GB",
        "1..5GB",
        "1.5.2",
        "1e3",
        "one GB",
        "1 XB",
        "1GBB",
        "1,000,000",
        "١GB",
        "1G B",
        "1" * 20,
        "0.5B",
        "0.000001 KB",
    ],
)
def test_it_refuses_text_that_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["1", "50", " 50 ", "1.5", "0,5", "1048576", "1073741824"])
def test_a_number_without_a_unit_may_mean_anything(text: str) -> None:
    with pytest.raises(
        UnitMissing, match=f"^'{text.strip()}' has no unit; write {text.strip()}GB, or"
    ):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KB"),
        (GB - 1, "1024.00 MB"),
        (3 * GB // 2, "1.50 GB"),
        (2**60, "1024.00 PB"),
    ],
)
def test_it_writes_a_size_for_a_person(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 10**15 - 1), st.sampled_from(["B", "K", "kb", "MiB", " G", "TB", "PB"]))
def test_whole_numbers_are_read_exactly(number: int, unit: str) -> None:
    scale = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}[
        unit.strip().lower()[:1]
    ]
    assert parse_size(f"{number}{unit}") == number * scale


def test_zero_is_written_as_zero_bytes() -> None:
    assert exact_size(0) == format_size(0) == "0 B"
