from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from subscriptions.api.schema import add_subscriptions


def generated() -> dict[str, Any]:
    found = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return add_subscriptions(found, generator=None, request=None, public=True)


def test_the_schema_with_both_lists_is_valid() -> None:
    validate_schema(generated())  # type: ignore[no-untyped-call]


def test_every_route_of_the_app_is_documented() -> None:
    paths = generated()["paths"]
    assert list(paths["/api/xpert/sub"]) == ["get"]
    assert list(paths["/api/xpert/direct-configs/sub"]) == ["get"]
    assert list(paths["/api/xpert/direct-configs"]) == ["get", "post"]
    assert list(paths["/api/xpert/direct-configs/{id}"]) == ["get", "put", "patch", "delete"]


def test_answers_are_documented_with_their_statuses() -> None:
    created = generated()["paths"]["/api/xpert/direct-configs"]["post"]["responses"]
    assert set(created) >= {"200", "201", "400", "401", "403", "413", "415", "429", "503"}
