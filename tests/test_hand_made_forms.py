"""Requests that no browser sends: invalid ids in forged forms and addresses."""

from collections.abc import Iterator
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse

pytestmark = pytest.mark.django_db

NOT_IDS = ["abc", "9" * 30, "9223372036854775808", "-1", "1.5", "٣"]


def add_forms() -> Iterator[tuple[str, str]]:
    """The address of each add form, with each of its fields that accepts ids of other objects."""
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    for model, model_admin in admin.site._registry.items():
        if model_admin.has_add_permission(request):
            for name in _choices_of(model_admin, request):
                yield f"admin:{model._meta.app_label}_{model._meta.model_name}_add", name


def _choices_of(model_admin: Any, request: Any) -> list[str]:
    fields = model_admin.get_form(request, change=False).base_fields
    return [name for name, field in fields.items() if isinstance(field, forms.ModelChoiceField)]


def test_there_are_such_forms() -> None:
    assert {
        ("admin:subscriptions_group_add", "subscribers"),
        ("admin:auth_group_add", "permissions"),
    } <= {*add_forms()}


@pytest.mark.parametrize("given", NOT_IDS)
def test_an_invalid_id_is_an_error_of_its_field(admin_client: Client, given: str) -> None:
    for name, field in add_forms():
        answer = admin_client.post(reverse(name), {"name": "x", field: given})
        assert answer.status_code == 200
        assert answer.context["adminform"].form.errors[field] == [
            f"“{given}” is not a valid value."
        ]


@pytest.mark.parametrize("given", NOT_IDS)
def test_an_invalid_id_in_an_address_selects_nothing(admin_client: Client, given: str) -> None:
    for name, field in add_forms():
        answer = admin_client.get(reverse(name), {field: given})
        assert answer.status_code == 200
        assert not answer.context["adminform"].form[field].value()
