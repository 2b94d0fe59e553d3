"""Unknown names in the environment: misspelt settings are reported, other programs' names are ignored."""

import re
from pathlib import Path

import pytest

from xpert_panel.settings import _known, unread

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("XPERT_TRAFIC_DB_PATH", "XPERT_TRAFFIC_DB_PATH"),
        ("XPERT_DOMIAN", "XPERT_DOMAIN"),
        ("XPERT_OPENACCESS", "XPERT_OPEN_ACCESS"),
        ("xpert_domain", "XPERT_DOMAIN"),
        ("XPERT_RETENTION_DAYS", "XPERT_HITS_RETENTION_DAYS"),
        ("XPERT_SOMETHING_ELSE", ""),
    ],
)
def test_an_unknown_name_with_our_prefix_is_reported(name: str, meant: str) -> None:
    assert unread([name], []) == {name: meant}


@pytest.mark.parametrize(
    "name", ["DATABASE_URI", "WEB_CONCURENCY", "XPRT_DOMAIN", "HOSTS", "SECRETKEY"]
)
def test_a_name_similar_to_ours_is_reported_if_it_is_in_the_file(name: str) -> None:
    assert unread([name], [name])[name] in _known
    assert unread([name], []) == {}


@pytest.mark.parametrize(
    "name", ["PATH", "COMPOSE_PROJECT_NAME", "POSTGRES_PASSWORD", "TZ", "EMAIL_HOST"]
)
def test_a_name_of_another_program_is_left_alone(name: str) -> None:
    assert unread([name], [name]) == {}


def test_every_setting_of_the_example_is_read() -> None:
    names = re.findall(r"(?m)^([A-Z_]+)=", EXAMPLE.read_text())
    assert len(names) > 30
    assert unread(names, names) == {}
    assert set(names) <= _known
