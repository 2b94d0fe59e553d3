"""Real lists and headers of providers, each with the expected result."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from operations.outbound.exchange import Limits
from subscriptions.sources import refreshing
from subscriptions.sources.source_lists import BodyError, parse
from tests.subscriptions.examples import A, source
from tests.subscriptions.hostile import InternetInThread, raw

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "hunt_lists.jsonl").read_text().splitlines()
]
HOW = {
    how: [pytest.param(row, id=row["id"]) for row in ROWS if row["how"] == how]
    for how in ("userinfo", "body")
}


@pytest.mark.parametrize("row", HOW["body"])
def test_a_list_is_read(row: dict[str, Any]) -> None:
    body = base64.b64decode(row["base64"]) if "base64" in row else row["body"].encode()
    charset = row.get("charset", "")
    if "error" in row:
        with pytest.raises(BodyError) as caught:
            parse(body, charset=charset)
        assert caught.value.code == row["error"]
        return
    found = parse(body, charset=charset)
    assert [node.remark for node in found.nodes] == row["names"]
    assert found.userinfo == row.get("userinfo", "")
    assert found.skipped == row.get("skipped", found.skipped)


@pytest.mark.django_db
@pytest.mark.parametrize("row", HOW["userinfo"])
def test_a_providers_quota_is_read(
    row: dict[str, Any], settings: Any, internet: InternetInThread
) -> None:
    settings.XPERT_SOURCES_ALLOW = ["http"]
    it = source("provider", url="http://provider.example/sub")
    head = "\r\n".join(["HTTP/1.1 200 OK", *row["headers"], "", ""]).encode()
    internet.serve("provider.example", raw(head + A.encode()))
    limits = Limits(connect=20, gap=20, total=20)
    (outcome,) = refreshing.refresh([it.pk], limits=limits, network=internet.network)
    it.refresh_from_db()
    assert outcome.error == ""
    figures = [it.provider_upload, it.provider_download, it.provider_total, it.provider_expire]
    assert figures == row["expected"]
