import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from operations.sealing import CannotOpenError, seal, unseal


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_sealed_secret_opens_again(secret: str) -> None:
    assert unseal(seal(secret)) == secret


def test_the_secret_is_not_in_what_is_stored_and_looks_different_every_time() -> None:
    one, other = seal("s3cr3t-password"), seal("s3cr3t-password")
    assert "s3cr3t" not in one
    assert one != other


def test_nothing_to_seal_stays_nothing() -> None:
    assert (seal(""), unseal("")) == ("", "")


def test_another_secret_key_does_not_open_it(settings: Settings) -> None:
    sealed = seal("secret")
    settings.SECRET_KEY = "another-" * 8
    with pytest.raises(CannotOpenError):
        unseal(sealed)


def test_a_former_secret_key_still_opens_it(settings: Settings) -> None:
    sealed, former = seal("secret"), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-" * 8, [former]
    assert unseal(sealed) == "secret"


@pytest.mark.parametrize("place", [0, 20, 30, -1])
def test_a_changed_text_does_not_open(place: int) -> None:
    sealed = seal("a secret")
    other = "A" if sealed[place] != "A" else "Q"
    with pytest.raises(CannotOpenError):
        unseal(sealed[:place] + other + (sealed[place + 1 :] if place != -1 else "="))


@pytest.mark.parametrize("text", ["x", "not base64!", "AAAA", "привет"])
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(CannotOpenError):
        unseal(text)
