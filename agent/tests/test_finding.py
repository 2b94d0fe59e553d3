"""Finding the cores of a machine, which the test furnishes with files, processes and ports."""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from ports import free_port
from real_cores import (
    MIHOMO,
    SING_BOX,
    mihomo,
    needs_mihomo,
    needs_sing_box,
    needs_v2ray,
    running,
    v2ray,
)
from stand_ins import HttpCore, MemoryStore

from xpert_agent.finding import Finding, core_config, find
from xpert_agent.finding.findings import in_parallel
from xpert_agent.finding.machine import Machine, Process, _split, local_address, this_machine
from xpert_agent.sources import open_source
from xpert_agent.sources.base import Found

META = {"version": "v1.19.32", "meta": True}


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Paths of unix sockets have room for about a hundred letters.
    with tempfile.TemporaryDirectory(prefix="xa") as folder:
        root = Path(folder)
        (root / "home").mkdir()
        yield Machine(root / "home", root, {}, probes_ports=False)


def _clash_core(version: Any = META, mixed_port: int = 7890, secret: str = "") -> HttpCore:
    def answer(request: BaseHTTPRequestHandler) -> Any:
        answers = {"/version": version, "/configs": {"port": 0, "mixed-port": mixed_port}}
        return answers.get(request.path, {})

    return HttpCore(answer, secret)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _sources(machine: Machine) -> list[Found]:
    return [finding.source for finding in find(machine) if finding.source]


def _only(machine: Machine) -> Finding:
    (finding,) = find(machine)
    return finding


def _runs(*arguments: str, folder: Path = Path("/")) -> Process:
    return Process(arguments, folder)


def test_an_empty_machine_has_nothing(machine: Machine) -> None:
    assert find(machine) == []


# Clash cores


def test_a_controller_is_found_in_the_configuration_with_its_secret(machine: Machine) -> None:
    with _clash_core(secret="s3cret").on_port() as port:
        text = f"mixed-port: 7890\nexternal-controller: 0.0.0.0:{port}  # all\nsecret: 's3cret'\n"
        _write(machine.home / ".config/mihomo/config.yaml", text)
        (source,) = _sources(machine)
    assert source.kind == "clash"
    assert source.options == {"controller": f"127.0.0.1:{port}", "secret": "s3cret"}
    assert source.where == f"mihomo at 127.0.0.1:{port}"


@pytest.mark.skipif(sys.platform == "win32", reason="Python has no unix sockets on Windows")
def test_two_ways_to_one_core_are_one_source(machine: Machine) -> None:
    core = _clash_core()
    path = machine.root / "tmp/verge/verge-mihomo.sock"
    path.parent.mkdir(parents=True)
    with core.on_port() as port, core.on_socket(path):
        _write(machine.home / ".config/mihomo/config.yaml", f"external-controller: :{port}\n")
        assert len(_sources(machine)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Python has no unix sockets on Windows")
def test_two_cores_are_two_sources(machine: Machine) -> None:
    path = machine.root / "tmp/mihomo-party-501-77.sock"
    path.parent.mkdir(parents=True)
    with _clash_core().on_port() as port, _clash_core(mixed_port=7899).on_socket(path):
        _write(machine.home / ".config/mihomo/config.yaml", f"external-controller: :{port}\n")
        found = [source.options["controller"] for source in _sources(machine)]
    assert found == [f"127.0.0.1:{port}", f"unix:{path}"]


def test_a_running_program_tells_its_controller_and_its_configuration(machine: Machine) -> None:
    with _clash_core(secret="s3cret").on_port() as port:
        _write(machine.root / "work/config.yaml", f'secret: "s3cret"\nexternal-controller: :{port}')
        process = _runs("/opt/Clash Verge/verge-mihomo", "-d", "work", folder=machine.root)
        (source,) = _sources(replace(machine, processes=(process,)))
    assert source.options["secret"] == "s3cret"


def test_what_a_program_was_started_with_goes_before_its_configuration(machine: Machine) -> None:
    with _clash_core().on_port() as port:
        process = _runs("mihomo", f"-ext-ctl=127.0.0.1:{port}")
        (source,) = _sources(replace(machine, processes=(process,)))
    assert source.options == {"controller": f"127.0.0.1:{port}"}


def test_a_wrong_secret_is_a_finding_that_says_what_to_do(machine: Machine) -> None:
    with _clash_core(secret="s3cret").on_port() as port:
        _write(machine.home / ".config/clash/config.yaml", f"external-controller: :{port}\n")
        finding = _only(machine)
    assert finding.source is None
    assert f"127.0.0.1:{port} wants a secret" in finding.found
    assert "docs/agent-sources-cores.md" in finding.cannot_know


def test_a_secret_goes_to_the_address_of_its_own_configuration_alone(machine: Machine) -> None:
    heard: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> Any:
        heard.append(request.headers.get("Authorization", ""))
        return META

    other = HttpCore(answer)
    with other.on_port() as port:
        _write(machine.home / ".config/mihomo/config.yaml", "secret: s3cret\n")
        _write(machine.home / ".config/clash/config.yaml", f"external-controller: :{port}\n")
        find(machine)
    assert set(heard) == {""}


def test_a_controller_on_another_interface_is_left_alone(machine: Machine) -> None:
    text = "external-controller: 192.168.1.1:9090\n"
    _write(machine.home / ".config/mihomo/config.yaml", text)
    assert find(machine) == []


@pytest.mark.parametrize("answer", [{"version": 3}, [], "hello", {"status": "ok"}])
def test_a_program_that_is_no_clash_core_is_not_taken_for_one(
    machine: Machine, answer: Any
) -> None:
    with _clash_core(version=answer).on_port() as port:
        _write(machine.home / ".config/mihomo/config.yaml", f"external-controller: :{port}\n")
        assert find(machine) == []


def test_a_core_whose_controller_is_off_is_told(machine: Machine) -> None:
    _write(machine.root / "config.yaml", "external-controller: ''\n")
    process = _runs("FlClashCore.exe", folder=machine.root)
    finding = _only(replace(machine, processes=(process,)))
    assert finding.source is None
    assert finding.found == "flclashcore runs, and no controller of it answers."
    assert "external controller" in finding.cannot_know


@pytest.mark.parametrize(
    "text", ["external-controller: [1, 2]", "external-controller:\n  - x", "\0\1\2", "secret: "]
)
def test_a_configuration_of_another_form_disturbs_nobody(machine: Machine, text: str) -> None:
    _write(machine.home / ".config/mihomo/config.yaml", text)
    assert find(machine) == []


def test_a_pipe_that_never_answers_does_not_hold_up_the_others() -> None:
    hangs = threading.Event()

    def ask(name: str) -> str:
        if name == "hangs":
            hangs.wait(30)
        return name

    began = monotonic()
    assert in_parallel(ask, ["a", "hangs", "b"], seconds=0.2) == ["a", "b"]
    assert monotonic() - began < 10
    hangs.set()


def test_pipes_of_windows_are_tried_except_those_of_services(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def refuse(path: str, *_: Any, **__: Any) -> Any:
        opened.append(path)
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", refuse)
    names = ("verge-mihomo", "MihomoParty\\mihomo", "clash-verge-service", "chrome.1", "lsass")
    find(replace(machine, pipes=tuple(f"\\\\.\\pipe\\{name}" for name in names)))
    assert sorted(opened) == ["\\\\.\\pipe\\MihomoParty\\mihomo", "\\\\.\\pipe\\verge-mihomo"]


@needs_mihomo
def test_a_real_mihomo_is_found_once_and_can_be_read(machine: Machine) -> None:
    port, controller = free_port(), free_port()
    config = {
        "mixed-port": port,
        "external-controller": f"127.0.0.1:{controller}",
        "external-controller-unix": "mihomo.sock",
        "secret": "s3cret",
        "log-level": "silent",
    }
    folder = machine.root / "work"
    folder.mkdir()
    with running(mihomo(folder, config), port, controller):
        process = next(
            one for one in this_machine().processes if str(folder / "config.yaml") in one.arguments
        )
        (source,) = _sources(replace(machine, processes=(process,)))
        with closing(open_source(source.kind, source.options, MemoryStore())) as opened:
            assert opened.read().counters == {}
    assert source.where == f"mihomo at {folder / 'mihomo.sock'}"
    assert process.arguments[0] == str(MIHOMO)


# sing-box


def _sing_box_config(port: int, clash: int) -> dict[str, Any]:
    api = {"type": "api", "listen": "127.0.0.1", "listen_port": port, "secret": "s3cret"}
    clash_api = {"external_controller": f"127.0.0.1:{clash}"}
    return {
        "log": {"disabled": True},
        "services": [api],
        "experimental": {"clash_api": clash_api},
        "outbounds": [{"type": "direct"}],
    }


@needs_sing_box
def test_a_real_sing_box_is_read_by_its_api_and_not_as_a_clash_core_too(machine: Machine) -> None:
    port, clash = free_port(), free_port()
    text = json.dumps(_sing_box_config(port, clash))
    path = _write(machine.root / "etc/sing-box/config.json", text)
    _write(machine.home / ".config/mihomo/config.yaml", f"external-controller: :{clash}\n")
    with running([str(SING_BOX), "run", "-c", str(path)], port, clash):
        (source,) = _sources(machine)
        with closing(open_source(source.kind, source.options, MemoryStore())) as opened:
            opened.read()
    assert source.kind == "singbox"
    assert source.options == {"url": f"http://127.0.0.1:{port}", "secret": "s3cret"}


def test_a_sing_box_without_an_api_is_told(machine: Machine) -> None:
    finding = _only(replace(machine, processes=(_runs("sing-box", "run"),)))
    assert finding.source is None
    assert "needs an api service" in finding.cannot_know


# Xray and v2ray


def _v2ray_config(api: int) -> dict[str, Any]:
    inbound = {"tag": "api", "listen": "127.0.0.1", "port": api, "protocol": "dokodemo-door"}
    return {
        "stats": {},
        "api": {"tag": "api", "services": ["StatsService"]},
        "inbounds": [{**inbound, "settings": {"address": "127.0.0.1"}}],
        "outbounds": [{"tag": "direct", "protocol": "freedom"}],
        "routing": {"rules": [{"type": "field", "inboundTag": ["api"], "outboundTag": "api"}]},
    }


@needs_v2ray
def test_a_real_v2ray_is_found_by_its_command_line_and_can_be_read(machine: Machine) -> None:
    api = free_port()
    with running(v2ray(machine.root, "core", _v2ray_config(api)), api):
        process = _runs("/usr/bin/v2ray", "-config", "core.json", folder=machine.root)
        (source,) = _sources(replace(machine, processes=(process,)))
        with closing(open_source(source.kind, source.options, MemoryStore())) as opened:
            opened.read()
    assert source.kind == "xray"
    config = str(machine.root / "core.json")
    assert source.options == {"url": f"grpc://127.0.0.1:{api}", "config": config}


def test_metrics_that_listen_themselves_are_found(machine: Machine) -> None:
    page = {"memstats": dict.fromkeys(("TotalAlloc", "Mallocs", "NumGC"), 1), "stats": {}}
    with HttpCore(page).on_port() as port:
        text = json.dumps({"metrics": {"listen": f"127.0.0.1:{port}"}})
        _write(machine.root / "usr/local/etc/xray/config.json", text)
        (source,) = _sources(machine)
    assert source.options["url"] == f"http://127.0.0.1:{port}"


def test_an_xray_that_tells_nothing_is_told(machine: Machine) -> None:
    finding = _only(replace(machine, processes=(_runs("/usr/bin/xray", "run"),)))
    assert finding.source is None
    assert "stats, a policy" in finding.cannot_know


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sing-box-linux-amd64", "api service"),
        ("sing-box.exe", "api service"),
        ("Xray-linux-64", "stats, a policy"),
        ("wxray", "stats, a policy"),
    ],
)
def test_programs_of_releases_are_known(machine: Machine, name: str, hint: str) -> None:
    assert hint in _only(replace(machine, processes=(_runs(name, "run"),))).cannot_know


@pytest.mark.parametrize("name", ["v2rayA", "xrayconfig", "v2ray2"])
def test_programs_of_similar_names_are_others(machine: Machine, name: str) -> None:
    assert find(replace(machine, processes=(_runs(name),))) == []


def test_every_configuration_of_a_command_line_is_read_with_comments(machine: Machine) -> None:
    page = {"memstats": dict.fromkeys(("TotalAlloc", "Mallocs", "NumGC"), 1), "stats": {}}
    with HttpCore(page).on_port() as port:
        _write(machine.root / "a.json", '{"log": {}}')
        text = f'{{ // the metrics\n"metrics": {{"listen": "127.0.0.1:{port}"}} /* "x" */ }} # end'
        _write(machine.root / "b.json", text)
        process = _runs("xray", "run", "-c", "a.json", "-c", "b.json", folder=machine.root)
        (source,) = _sources(replace(machine, processes=(process,)))
    assert source.options["url"] == f"http://127.0.0.1:{port}"


def test_a_string_may_look_like_a_comment() -> None:
    text = '{"url": "https://a/b#c", "quoted": "\\"//"} // gone'
    assert json.loads(core_config._without_comments(text)) == {
        "url": "https://a/b#c",
        "quoted": '"//',
    }


@needs_sing_box
def test_a_real_sing_box_without_an_api_is_read_as_a_clash_core(machine: Machine) -> None:
    api, clash = free_port(), free_port()
    config = _sing_box_config(api, clash)
    del config["services"]
    config["experimental"]["clash_api"]["secret"] = "s3cret"
    path = _write(machine.root / "c.json", json.dumps(config))
    with running([str(SING_BOX), "run", "-c", str(path)], clash):
        process = _runs(str(SING_BOX), "run", "-c", str(path))
        (source,) = _sources(replace(machine, processes=(process,)))
    assert source.kind == "clash"
    assert source.options == {"controller": f"127.0.0.1:{clash}", "secret": "s3cret"}


@pytest.mark.parametrize("text", ["[1]", '{"api": 5}', '{"services": {"a": 1}}', "{// comment"])
def test_a_file_of_another_form_disturbs_nobody(machine: Machine, text: str) -> None:
    for name in ("usr/local/etc/xray/config.json", "etc/sing-box/config.json"):
        _write(machine.root / name, text)
    with _clash_core().on_port() as port:
        _write(machine.home / ".config/mihomo/config.yaml", f"external-controller: :{port}\n")
        assert [source.kind for source in _sources(machine)] == ["clash"]


# v2rayN


def _v2rayn(folder: Path, listens: int) -> None:
    (folder / "guiConfigs").mkdir(parents=True)
    sqlite3.connect(folder / "guiConfigs/guiNDB.db").close()
    (folder / "guiConfigs/guiNDB.db").touch()
    core = {"experimental": {"clash_api": {"external_controller": f"127.0.0.1:{listens}"}}}
    _write(folder / "binConfigs/config.json", json.dumps(core))


@pytest.mark.parametrize(
    "place",
    [".local/share/v2rayN", "Downloads/v2rayN-windows-64/v2rayN-windows-64", "Desktop/v2rayN 7.24"],
)
def test_v2rayn_is_found_in_its_usual_places(machine: Machine, place: str) -> None:
    folder = machine.home / place
    _v2rayn(folder, 1)
    (source,) = _sources(machine)
    assert (source.kind, source.options) == ("v2rayn", {"folder": str(folder)})


def test_the_cores_of_v2rayn_are_not_read_a_second_time_by_themselves(machine: Machine) -> None:
    with _clash_core().on_port() as port:
        _v2rayn(machine.home / ".local/share/v2rayN", port)
        _write(machine.home / ".config/mihomo/config.yaml", f"external-controller: :{port}\n")
        assert [source.kind for source in _sources(machine)] == ["v2rayn"]


# The machine


@pytest.mark.parametrize(
    ("listens", "address"),
    [
        ("127.0.0.1:9090", "127.0.0.1:9090"),
        (":9090", "127.0.0.1:9090"),
        ("0.0.0.0:9090", "127.0.0.1:9090"),
        ("[::]:9090", "127.0.0.1:9090"),
        ("localhost:9090", "127.0.0.1:9090"),
        ("[::1]:9090", "[::1]:9090"),
        ("192.168.1.1:9090", ""),
        ("router.lan:9090", ""),
        ("127.0.0.1:0", ""),
        ("127.0.0.1:99999", ""),
        ("127.0.0.1", ""),
        ("", ""),
    ],
)
def test_only_what_listens_on_loopback_is_looked_at(listens: str, address: str) -> None:
    assert local_address(listens) == address


@pytest.mark.parametrize(
    "arguments",
    [("-c", "f.json"), ("-c=f.json",), ("--config", "f.json"), ("run", "-config=f.json")],
)
def test_options_are_understood_in_every_spelling(arguments: tuple[str, ...]) -> None:
    assert _runs("xray", *arguments).option("c", "config") == "f.json"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "/Apps/Clash Party.app/mihomo -d /Users/a/My Files/work -ext-ctl 127.0.0.1:9090",
            [
                "/Apps/Clash Party.app/mihomo",
                "-d",
                "/Users/a/My Files/work",
                "-ext-ctl",
                "127.0.0.1:9090",
            ],
        ),
        (
            "/usr/local/bin/xray run -c config.json",
            ["/usr/local/bin/xray", "run", "-c", "config.json"],
        ),
        ("sing-box run", ["sing-box", "run"]),
        ("", [""]),
    ],
)
def test_command_lines_of_macos_are_cut_into_words(line: str, words: list[str]) -> None:
    assert list(_split(line)) == words


def test_an_option_without_a_value_is_empty() -> None:
    assert _runs("xray", "-c").option("c") == ""


def test_a_name_of_a_program_has_no_folder_and_no_exe() -> None:
    assert _runs("C:\\Program Files\\Clash\\Verge-Mihomo.exe").name == "verge-mihomo"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_machine_knows_its_own_program() -> None:
    assert any("pytest" in " ".join(one.arguments) for one in this_machine().processes)
