"""What real cores say of the ready skeletons, and that traffic flows as their rules say. All on the loopback interface."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import ProxyHandler, build_opener

import pytest
import yaml
from pytest_django import Settings

from subscriptions import cores, formats, links, list_templates, skeletons
from subscriptions.links import Node
from subscriptions.list_templates import Refused
from subscriptions.skeletons import ready
from tests.ports import free_ports
from tests.subscriptions.formats.cores import (
    MIHOMO,
    SING_BOX,
    V2RAY,
    needs_mihomo,
    needs_sing_box,
    needs_v2ray,
    sample_nodes,
    without_utls,
)
from tests.subscriptions.formats.running import fetch, running
from tests.subscriptions.formats.test_traffic import PAGE, web_page
from tests.subscriptions.skeletons.examples import servers

LINK = "ss://chacha20-ietf-poly1305:1e5@127.0.0.1:{}#{}"
# V2Ray 4 does not know it, Xray does.
QUIC = b', "quic"'
INNER = {"type": "shadowsocks", "method": "chacha20-ietf-poly1305", "password": "1e5"}


def of_format(name: str) -> list[Any]:
    return [pytest.param(each, id=each.key) for each in ready.READY if each.format == name]


def rendered(each: ready.Ready, nodes: list[Node]) -> bytes:
    return skeletons.read(each.format, each.text).render(servers(each.format, nodes))[0]


@pytest.fixture(autouse=True)
def real_cores(settings: Settings) -> None:
    settings.XPERT_CORES = [str(core) for core in (MIHOMO, SING_BOX, V2RAY) if core]


@needs_mihomo
@pytest.mark.parametrize("each", of_format("mihomo"))
def test_mihomo_accepts_the_ready_ones(each: ready.Ready) -> None:
    for nodes in (sample_nodes(), []):
        assert cores.verdict("mihomo", rendered(each, nodes)).says == ""
    assert list_templates.check("mihomo", each.text).state == "fine"


@needs_sing_box
@pytest.mark.parametrize("each", of_format("sing-box"))
def test_sing_box_accepts_the_ready_ones(each: ready.Ready) -> None:
    for nodes in (sample_nodes(), []):
        document = without_utls(json.loads(rendered(each, nodes)))
        assert cores.verdict("sing-box", json.dumps(document).encode()).says == ""
    assert list_templates.check("sing-box", each.text).state == "fine"


@needs_v2ray
@pytest.mark.parametrize("each", of_format("xray"))
def test_v2ray_accepts_the_ready_ones_of_xray(each: ready.Ready) -> None:
    # It does not know Hysteria2, which is among the examples.
    nodes = [links.parse(LINK.format(1, "DE 1")), links.parse("trojan://a@192.0.2.1:443#NL")]
    assert cores.verdict("xray", rendered(each, nodes).replace(QUIC, b"")).says == ""


@pytest.mark.parametrize("name", skeletons.FORMATS)
def test_the_first_ready_one_is_the_built_in_list(name: str) -> None:
    each = ready.BY_KEY[f"{name}-everything"]
    read = yaml.safe_load if name == "mihomo" else json.loads
    for nodes in (sample_nodes(), []):
        assert read(rendered(each, nodes)) == read(formats.render(name, nodes))


@needs_v2ray
def test_v2ray_accepts_balancers_over_the_servers() -> None:
    balancer = {"tag": "fast", "selector": ["<country DE>"]}
    text = {
        "remarks": "Auto",
        "outbounds": ["<servers>", {"tag": "direct", "protocol": "freedom"}],
        "routing": {
            "balancers": [balancer],
            "rules": [{"type": "field", "network": "tcp,udp", "balancerTag": "fast"}],
        },
    }
    nodes = [links.parse(LINK.format(number, f"DE {number}")) for number in range(1, 12)]
    content, _ = skeletons.read("xray", json.dumps(text)).render(servers("xray", nodes))
    assert cores.verdict("xray", content) == cores.Verdict("fine", "v2ray")


class TestRefusals:
    @needs_mihomo
    def test_mihomo_refuses_what_only_it_knows_and_its_words_are_told(self) -> None:
        text = ready.BY_KEY["mihomo-everything"].text.replace("type: url-test", "type: url-tset")
        with pytest.raises(Refused) as caught:
            list_templates.check("mihomo", text)
        assert caught.value.verdict.core == "mihomo"
        assert "url-tset" in caught.value.verdict.says
        assert "xpert-core-" not in caught.value.verdict.says

    @needs_sing_box
    def test_sing_box_refuses_an_unknown_field(self) -> None:
        text = ready.BY_KEY["sing-box-everything"].text.replace('"auto_route"', '"auto_rout"')
        with pytest.raises(Refused) as caught:
            list_templates.check("sing-box", text)
        assert "auto_rout" in caught.value.verdict.says

    @needs_v2ray
    def test_the_word_of_v2ray_is_told_but_refuses_nothing(self) -> None:
        text = ready.BY_KEY["xray-everything"].text.replace("10808", '"a port"')
        verdict = list_templates.check("xray", text)
        assert (verdict.state, verdict.core) == ("unjudged", "v2ray")
        assert verdict.says

    @needs_mihomo
    def test_rules_by_geography_are_not_shown_to_mihomo_which_would_fetch_files_for_them(
        self,
    ) -> None:
        text = ready.BY_KEY["mihomo-everything"].text
        ruled = text.replace(
            "  - MATCH", "  - GEOIP,RU,DIRECT\n  - GEOSITE,google,Proxy\n  - MATCH"
        )
        assert list_templates.check("mihomo", ruled).state == "fine"
        verdict = list_templates.check("mihomo", text + "geox-url: {geoip: 'https://a.example'}\n")
        assert verdict.state == "unjudged"


def _is_alive(stat: Path) -> bool:
    """Not gone, and no zombie that waits for its new parent."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Asked(BaseHTTPRequestHandler):
    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@needs_mihomo
@needs_sing_box
def test_a_check_fetches_nothing() -> None:
    """Providers, rule sets and pages of a controller are fetched by an app that runs, not by one that checks."""
    with HTTPServer(("127.0.0.1", 0), Asked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}"
        text = ready.BY_KEY["mihomo-everything"].text
        text = text.replace("rules:", "rules:\n  - RULE-SET,theirs,DIRECT") + (
            f"proxy-providers:\n  more: {{type: http, url: {at}/proxies, path: ./p, interval: 60}}\n"
            f"rule-providers:\n  theirs: {{type: http, behavior: domain, url: {at}/rules, path: ./r}}\n"
            f"external-ui: ui\nexternal-ui-url: {at}/ui.zip\n"
        )
        assert list_templates.check("mihomo", text).says == ""
        document = json.loads(ready.BY_KEY["sing-box-everything"].text)
        document["route"]["rule_set"] = [
            {"type": "remote", "tag": "theirs", "format": "source", "url": f"{at}/sets"}
        ]
        assert list_templates.check("sing-box", json.dumps(document)).says == ""
        server.shutdown()
    assert Asked.paths == []


class TestLimits:
    def test_without_a_core_nothing_is_judged(self, settings: Settings) -> None:
        settings.XPERT_CORES = ["off"]
        assert cores.verdict("mihomo", b"x") == cores.ABSENT

    def fake(self, folder: Path, script: str, settings: Settings) -> None:
        core = folder / "sing-box"
        core.write_text(f"#!/bin/sh\n{script}\n")
        core.chmod(0o755)
        settings.XPERT_CORES = [str(core)]

    def test_a_core_that_hangs_is_ended_with_its_children_and_judges_nothing(
        self, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cores, "_SECONDS", 0.5)
        self.fake(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; sleep 1000", settings)
        assert cores.verdict("sing-box", b"{}").state == "unjudged"
        child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
        deadline = time.monotonic() + 20
        while _is_alive(child):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_a_core_gets_no_secret_of_the_panel_and_leaves_nothing(
        self, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_KEY", "very-secret")
        self.fake(tmp_path, f"env > {tmp_path}/env; pwd > {tmp_path}/pwd; exit 1", settings)
        cores.verdict("sing-box", b"{1}")
        assert "very-secret" not in (tmp_path / "env").read_text()
        assert not Path((tmp_path / "pwd").read_text().strip()).exists()

    def test_a_core_that_writes_without_end_is_stopped(
        self, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cores, "_FILE_SIZE", 2**20)
        self.fake(tmp_path, "sleep .2; exec yes", settings)
        assert cores.verdict("sing-box", b"{2}").state in {"unjudged", "refused"}

    def test_what_it_says_is_cut(self, tmp_path: Path, settings: Settings) -> None:
        self.fake(tmp_path, "head -c 100000 /dev/zero | tr '\\0' x; exit 1", settings)
        found = cores.verdict("sing-box", b"{3}")
        assert (found.state, len(found.says)) == ("refused", 400)


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[list[Node]]:
    """Two servers that know the name of a page which no client can resolve: ``page.invalid``."""
    ports = free_ports(2)
    with web_page() as page:
        config = {
            "log": {"level": "error"},
            "inbounds": [
                INNER | {"tag": f"in{port}", "listen": "127.0.0.1", "listen_port": port}
                for port in ports
            ],
            "outbounds": [{"type": "direct", "tag": "direct"}],
            "route": {
                "rules": [
                    {
                        "domain": ["page.invalid"], "action": "route", "outbound": "direct",
                        "override_address": "127.0.0.1", "override_port": page,
                    }
                ]
            },
        }  # fmt: skip
        path = tmp_path / "server.json"
        path.write_text(json.dumps(config))
        with running([str(SING_BOX), "run", "-c", str(path)], ports):
            yield [
                links.parse(LINK.format(port, name))
                for port, name in zip(ports, ("DE", "NL"), strict=True)
            ]


def directly(port: int, url: str) -> str:
    opener = build_opener(ProxyHandler({"http": f"http://127.0.0.1:{port}"}))
    with opener.open(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.slow
@needs_sing_box
@needs_mihomo
@pytest.mark.parametrize("each", of_format("mihomo"))
def test_traffic_flows_through_the_groups_in_mihomo(
    each: ready.Ready, behind: list[Node], tmp_path: Path
) -> None:
    document = yaml.safe_load(rendered(each, behind))
    (port,) = free_ports(1)
    # No test asks the internet: a group that measures chooses by hand here, and the server resolves the name.
    document["mixed-port"] = port
    for group in document["proxy-groups"]:
        group["type"] = "select"
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(document, ensure_ascii=False))
    with running([str(MIHOMO), "-d", str(tmp_path), "-f", str(path)], [port]), web_page() as page:
        assert fetch(port) == PAGE
        if each.kind == "local":
            assert directly(port, f"http://127.0.0.1:{page}/") == PAGE


@pytest.mark.slow
@needs_sing_box
@pytest.mark.parametrize("each", of_format("sing-box"))
def test_traffic_flows_through_the_groups_in_sing_box(
    each: ready.Ready, behind: list[Node], tmp_path: Path
) -> None:
    document = json.loads(rendered(each, behind))
    (port,) = free_ports(1)
    document["inbounds"] = [
        {"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": port}
    ]
    document["route"]["auto_detect_interface"] = False
    for outbound in document["outbounds"]:
        if outbound["type"] == "urltest":
            outbound["type"] = "selector"
            for key in ("url", "interval", "tolerance"):
                del outbound[key]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    with running([str(SING_BOX), "run", "-c", str(path)], [port]), web_page() as page:
        assert fetch(port) == PAGE
        # Private addresses go out directly: the servers would not find this page.
        assert directly(port, f"http://127.0.0.1:{page}/") == PAGE


@pytest.mark.slow
@needs_sing_box
@needs_v2ray
@pytest.mark.parametrize("each", of_format("xray"))
def test_traffic_flows_in_v2ray(each: ready.Ready, behind: list[Node], tmp_path: Path) -> None:
    config = json.loads(rendered(each, behind).replace(QUIC, b""))[0]
    socks, http = free_ports(2)
    config["inbounds"][0]["port"], config["inbounds"][1]["port"] = socks, http
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with running([str(V2RAY), "-config", str(path)], [http]), web_page() as page:
        assert fetch(http) == PAGE
        assert directly(http, f"http://127.0.0.1:{page}/") == PAGE
