"""Reachability: several tries, no private address is dialled, nothing is deleted, and the history does not grow."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from operations.outbound.dial import Network
from subscriptions import links
from subscriptions.models import DirectConfig, Edition, Endpoint, EndpointCheck, Node
from subscriptions.serving import catalogue
from subscriptions.sources import probing, reachability
from subscriptions.sources.probing import Pace, Probe
from subscriptions.sources.reachability import HISTORY, Targets
from tests.subscriptions.examples import A, B, direct, source, stored
from tests.subscriptions.hostile import PUBLIC, Internet, InternetInThread, raw

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAST = Pace(tries=3, timeout=20, pause=0)


@pytest.fixture
def check(internet: InternetInThread) -> Callable[..., reachability.Checked]:
    def checked(now: datetime = NOW) -> reachability.Checked:
        return reachability.check(now, reachability.targets(), pace=FAST, network=internet.network)

    return checked


def probed(server: str, internet: Internet, pace: Pace = FAST) -> Probe:
    async def main() -> Probe:
        found = await probing.probe_all([(server, 443)], lambda: None, pace, internet.network)
        return found[server, 443]

    return asyncio.run(main())


class TestProbe:
    def test_a_server_that_answers_has_a_latency_and_no_loss(
        self, internet: InternetInThread
    ) -> None:
        internet.serve("a.example", raw(b""))
        found = probed("a.example", internet.internet)
        assert found.latency is not None
        assert found.latency >= 1
        assert (found.loss, found.refused) == (0, False)
        assert internet.internet.dialled == [PUBLIC] * 3

    def test_one_that_does_not_answer_has_neither(self) -> None:
        internet = Internet()
        internet.names["a.example"] = [PUBLIC]
        assert probed("a.example", internet) == Probe(None, 100)
        assert internet.dialled == [PUBLIC] * 3

    def test_one_that_answers_now_and_then_has_loss(self, internet: InternetInThread) -> None:
        internet.serve("a.example", raw(b""))
        calls = []

        async def flaky(address: str, port: int, tls_name: str) -> object:
            calls.append(address)
            if len(calls) == 2:
                raise OSError
            return await internet.internet.connect(address, port, tls_name)

        async def main() -> Probe:
            network = Network(internet.internet.resolve, flaky)  # type: ignore[arg-type]
            return (await probing.probe_all([("a.example", 443)], lambda: None, FAST, network))[
                "a.example", 443
            ]

        found = asyncio.run(main())
        assert (found.loss, found.latency is not None) == (33, True)

    def test_an_unknown_name_is_down(self) -> None:
        assert probed("a.example", Internet()) == Probe(None, 100)

    def test_a_silent_server_takes_no_longer_than_the_timeout(self) -> None:
        async def main() -> Probe:
            async def never(*_: object) -> object:
                await asyncio.Event().wait()
                raise AssertionError

            async def found(*_: object) -> list[str]:
                return [PUBLIC]

            network = Network(found, never)  # type: ignore[arg-type]
            pace = Pace(tries=2, timeout=0.05, pause=0)
            return (await probing.probe_all([("a.example", 443)], lambda: None, pace, network))[
                "a.example", 443
            ]

        assert asyncio.run(main()) == Probe(None, 100)

    @pytest.mark.parametrize(
        "server",
        ["127.0.0.1", "10.0.0.1", "::1", "localhost", "169.254.169.254", "nas.local", "192.0.2.1"],
    )
    def test_a_private_address_is_never_dialled(self, server: str) -> None:
        internet = Internet()
        internet.names[server] = [server]
        assert probed(server, internet).refused
        assert internet.dialled == []

    @pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"])
    def test_a_name_that_leads_inside_is_not_dialled(self, address: str) -> None:
        internet = Internet()
        internet.names["trap.example"] = [PUBLIC, address]
        assert probed("trap.example", internet).refused
        assert internet.dialled == []

    def test_the_number_of_connections_at_once_is_limited(self, internet: InternetInThread) -> None:
        running, most = 0, 0

        async def counting(address: str, port: int, tls_name: str) -> object:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            raise OSError

        async def found(*_: object) -> list[str]:
            return [PUBLIC]

        async def main() -> None:
            endpoints = [(f"s{number}.example", 1) for number in range(20)]
            pace = Pace(tries=1, timeout=20, pause=0, concurrency=5)
            await probing.probe_all(endpoints, lambda: None, pace, Network(found, counting))  # type: ignore[arg-type]

        asyncio.run(main())
        assert most == 5


@pytest.mark.parametrize(
    ("link", "is_udp"),
    [
        ("hysteria2://pw@a.example:1", True),
        ("tuic://11111111-2222-4333-8444-555555555555:pw@a.example:1", True),
        ("vless://11111111-2222-4333-8444-555555555555@a.example:1?type=kcp", True),
        ("vless://11111111-2222-4333-8444-555555555555@a.example:1?type=ws", False),
        (A, False),
    ],
)
def test_servers_over_udp_are_known(link: str, is_udp: bool) -> None:
    assert probing.is_udp(links.parse(link)) is is_udp


class TestTargets:
    def test_servers_of_sources_and_direct_ones_are_asked_each_once(self) -> None:
        stored(source(), A, "trojan://other@a.example:1#same place")
        direct(A, B)
        assert reachability.targets() == Targets([("a.example", 1), ("b.example", 2)], 0)

    def test_absent_and_disabled_servers_are_not_probed(self) -> None:
        stored(source("off", enabled=False), A)
        stored(source("gone"), B)
        Node.objects.update(is_present=False)
        direct("trojan://pw@c.example:3")
        DirectConfig.objects.update(is_active=False)
        assert reachability.targets() == Targets([], 0)

    def test_udp_servers_are_counted_but_not_probed(self) -> None:
        direct(A, "hysteria2://pw@u.example:1")
        stored(source(), "hysteria2://pw@v.example:1")
        assert reachability.targets() == Targets([("a.example", 1)], 2)


class TestCheck:
    @pytest.fixture(autouse=True)
    def lists(self, internet: InternetInThread) -> None:
        direct(A)
        stored(source(), B)
        internet.serve("a.example", raw(b""))
        internet.internet.names["b.example"] = ["1.1.1.1"]

    def test_it_stores_which_servers_answered(
        self, check: Callable[..., reachability.Checked]
    ) -> None:
        check()
        up, down = Endpoint.objects.order_by("server")
        assert (up.state, up.down_since, up.loss, up.checked_at) == ("up", None, 0, NOW)
        assert up.latency
        assert (down.state, down.down_since, down.loss, down.latency) == ("down", NOW, 100, None)

    def test_down_since_is_the_first_check_that_failed(
        self, check: Callable[..., reachability.Checked]
    ) -> None:
        check(NOW)
        check(NOW + timedelta(hours=1))
        assert Endpoint.objects.get(server="b.example").down_since == NOW

    def test_one_that_comes_back_is_up(
        self, check: Callable[..., reachability.Checked], internet: InternetInThread
    ) -> None:
        check(NOW)
        internet.serve("b.example", raw(b""), "1.1.1.1")
        check(NOW + timedelta(hours=1))
        found = Endpoint.objects.get(server="b.example")
        assert (found.state, found.down_since) == ("up", None)

    def test_the_list_changes_at_once_and_nothing_is_deleted(
        self, check: Callable[..., reachability.Checked]
    ) -> None:
        assert catalogue.current("plain").content == f"{B}\n{A}\n".encode()
        check()
        assert catalogue.current("plain").content == f"{A}\n{B}\n".encode()

    def test_no_list_is_rendered_again_if_no_state_changed(
        self, check: Callable[..., reachability.Checked]
    ) -> None:
        check()
        before = Edition.current()
        check()
        assert Edition.current() == before

    def test_the_history_is_a_ring(self, check: Callable[..., reachability.Checked]) -> None:
        check()
        Endpoint.objects.update(checks=HISTORY - 1)
        for number in range(1, 4):
            check(NOW + timedelta(hours=number))
        assert EndpointCheck.objects.filter(endpoint__server="a.example").count() == 3
        newest = EndpointCheck.objects.filter(endpoint__server="a.example").latest("at")
        assert (newest.slot, newest.at) == (2, NOW + timedelta(hours=3))

    @pytest.mark.parametrize(("seconds", "streak"), [(0, 1), (59, 1), (60, 2)])
    def test_two_machines_that_check_at_the_same_time_count_one_check(
        self, check: Callable[..., reachability.Checked], seconds: int, streak: int
    ) -> None:
        check(NOW)
        check(NOW + timedelta(seconds=seconds))
        found = Endpoint.objects.get(server="b.example")
        assert (found.state, found.streak, found.checks) == ("down", streak, streak)
        assert EndpointCheck.objects.filter(endpoint=found).count() == streak

    def test_an_endpoint_without_a_listed_server_is_deleted(
        self, check: Callable[..., reachability.Checked]
    ) -> None:
        check()
        DirectConfig.objects.all().delete()
        assert reachability.drop_unlisted() == 1
        assert [endpoint.server for endpoint in Endpoint.objects.all()] == ["b.example"]
        assert not EndpointCheck.objects.filter(endpoint__server="a.example").exists()

    def test_when_none_of_many_answers_nothing_is_kept(self, internet: InternetInThread) -> None:
        targets = Targets([(f"s{number}.example", 1) for number in range(10)], 0)
        found = reachability.check(NOW, targets, pace=FAST, network=internet.network)
        assert found.is_offline
        assert not Endpoint.objects.exists()

    def test_a_few_that_do_not_answer_are_down(self, internet: InternetInThread) -> None:
        targets = Targets([(f"s{number}.example", 1) for number in range(9)], 0)
        assert (
            len(reachability.check(NOW, targets, pace=FAST, network=internet.network).endpoints)
            == 9
        )


class TestCommand:
    @pytest.fixture(autouse=True)
    def network(self, internet: InternetInThread, monkeypatch: pytest.MonkeyPatch) -> None:
        real = reachability.check
        monkeypatch.setattr(
            reachability,
            "check",
            lambda now, targets, progress: real(now, targets, progress, FAST, internet.network),
        )

    def run(self, *options: str) -> str:
        out = StringIO()
        call_command("check_nodes", *options, stdout=out)
        return out.getvalue()

    def test_it_sums_up(self, internet: InternetInThread) -> None:
        direct(A, B, "trojan://pw@10.0.0.1:1", "hysteria2://pw@u.example:1")
        internet.serve("a.example", raw(b""))
        assert (
            self.run() == "Checked 2 servers: 1 up, 1 down. Not dialled: 1 private, 1 over UDP.\n"
        )

    def test_it_names_those_that_are_down_when_asked(self) -> None:
        direct(A)
        assert "UTC: a.example:1\n" in self.run("--down")
        assert "a.example" not in self.run()

    def test_an_offline_machine_is_a_failure(self) -> None:
        direct(*(f"trojan://pw@s{number}.example:1" for number in range(10)))
        with pytest.raises(CommandError, match="offline"):
            self.run()

    def test_nothing_to_check_is_not_a_failure(self) -> None:
        assert self.run().startswith("Checked 0 servers")
