"""The page on which an operator says how the panel looks to subscribers."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from subscriptions.models import Brand

pytestmark = pytest.mark.django_db
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100
LIST, FORM = "admin:subscriptions_brand_changelist", "admin:subscriptions_brand_change"


def save(client: Client, **fields: Any) -> Any:
    client.get(reverse(LIST))
    return client.post(reverse(FORM, args=[1]), fields)


def test_the_list_leads_to_the_form_of_the_one_brand(admin_client: Client) -> None:
    answer = admin_client.get(reverse(LIST))
    assert answer.headers["Location"] == reverse(FORM, args=[1])
    assert admin_client.get(answer.headers["Location"]).status_code == 200


def test_everything_is_saved(admin_client: Client) -> None:
    picture = SimpleUploadedFile("logo.png", PNG)
    save(
        admin_client, title="Fast", colour="#c2410c", announcement="Hello", apps=["Happ"], picture=picture,
        support_url="https://t.me/help", renewal_url="tg://resolve?domain=shop",
    )  # fmt: skip
    brand = Brand.objects.get()
    assert (brand.title, brand.colour, brand.announcement, brand.apps) == (
        "Fast", "#c2410c", "Hello", ["Happ"],
    )  # fmt: skip
    assert (brand.support_url, brand.renewal_url) == (
        "https://t.me/help",
        "tg://resolve?domain=shop",
    )
    assert (bytes(brand.logo), brand.logo_type) == (PNG, "image/png")


def test_the_logo_stays_until_it_is_removed(admin_client: Client) -> None:
    Brand.objects.create(pk=1, logo=PNG, logo_type="image/png")
    save(admin_client, title="Fast")
    assert bytes(Brand.objects.get().logo) == PNG
    save(admin_client, no_picture="on")
    assert (bytes(Brand.objects.get().logo), Brand.objects.get().logo_type) == (b"", "")


@pytest.mark.parametrize(
    "fields",
    [
        {"colour": "red"},
        {"colour": "#12345g"},
        {"support_url": "javascript:alert(1)"},
        {"renewal_url": "ftp://shop.example/"},
        {"apps": ["Unknown"]},
        {"picture": SimpleUploadedFile("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")},
        {"picture": SimpleUploadedFile("logo.png", PNG + b"0" * 64 * 1024)},
    ],
    ids=lambda fields: "".join(fields),
)
def test_what_a_page_must_not_hold_is_refused(admin_client: Client, fields: dict[str, Any]) -> None:
    answer = save(admin_client, **fields)
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors
    assert Brand.objects.get().title == ""
