from __future__ import annotations

import pytest

from xpert_agent.sources.base import SourceError
from xpert_agent.sources.tally import THIS_SERVER

from .fakes import Core, Journal, opened

PAGE = """\
# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds {started}
# HELP shadowsocks_data_bytes Bytes transferred by the proxy, per access key
# TYPE shadowsocks_data_bytes counter
shadowsocks_data_bytes{{access_key="",dir="c>p",proto="tcp"}} 999
shadowsocks_data_bytes{{access_key="1",dir="c<p",proto="tcp"}} {down}
shadowsocks_data_bytes{{access_key="1",dir="c<p",proto="udp"}} 10
shadowsocks_data_bytes{{access_key="1",dir="c>p",proto="tcp"}} {up}
shadowsocks_data_bytes{{access_key="1",dir="p>t",proto="tcp"}} 7777
shadowsocks_data_bytes{{access_key="1",dir="p<t",proto="tcp"}} 7777
shadowsocks_data_bytes_per_location{{asn="",dir="c>p",location="XA",proto="tcp"}} 5555
"""
EMPTY = "shadowsocks_keys 3\nprocess_start_time_seconds 1.795886637e+09\n"


def page(up: str, down: str, started: str = "1.795886637e+09") -> str:
    return PAGE.format(up=up, down=down, started=started)


def test_only_what_goes_between_client_and_proxy_counts_over_tcp_and_udp(
    core: Core, journal: Journal
) -> None:
    source = opened("outline", url=core.url + "/metrics")
    core.body = EMPTY
    journal.read(source)
    core.body = page(up="300", down="1.2e+09")
    assert journal.read(source) == {("1", THIS_SERVER): (300, 1_200_000_010)}


def test_a_counter_in_exponent_form_is_exact_to_the_byte(core: Core, journal: Journal) -> None:
    source = opened("outline", url=core.url)
    core.body = EMPTY
    journal.read(source)
    core.body = page(up="9.007199254740991e+15", down="1.234567891e+09")
    assert journal.read(source) == {("1", THIS_SERVER): (2**53 - 1, 1_234_567_901)}


def test_what_no_key_has_opened_is_nobodys(core: Core, journal: Journal) -> None:
    source = opened("outline", url=core.url)
    core.body = EMPTY
    journal.read(source)
    core.body = page(up="1", down="1")
    assert [key.person for key in source.read().counters] == ["1"]


def test_a_new_start_time_counts_from_zero_what_has_passed_its_old_value(
    core: Core, journal: Journal
) -> None:
    source = opened("outline", url=core.url)
    core.body = page(up="100", down="100")
    journal.read(source)
    core.body = page(up="150", down="150", started="1.795886999e+09")
    assert journal.read(source) == {("1", THIS_SERVER): (150, 160)}


def test_names_of_keys_may_hold_quotes_and_braces(core: Core, journal: Journal) -> None:
    source = opened("outline", url=core.url)
    core.body = EMPTY
    journal.read(source)
    core.body = EMPTY + 'shadowsocks_data_bytes{dir="c>p",access_key="a\\"},b\\\\",proto="tcp"} 5\n'
    assert journal.read(source) == {('a"},b\\', THIS_SERVER): (5, 0)}


@pytest.mark.parametrize("text", ["", "<html>", "go_goroutines 5\n"])
def test_a_page_of_another_program_is_an_error(core: Core, text: str) -> None:
    core.body = text
    with pytest.raises(SourceError, match="not outline-ss-server"):
        opened("outline", url=core.url).read()


def test_a_counter_that_is_not_a_number_is_an_error(core: Core) -> None:
    core.body = page(up="+Inf", down="1")
    with pytest.raises(SourceError, match="not a number"):
        opened("outline", url=core.url).read()
