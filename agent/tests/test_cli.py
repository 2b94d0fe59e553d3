"""The program as people call it."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_panel import FakePanel
from real_cores import needs_sing_box
from singbox_core import SECRET, Gateway
from waiting import eventually

from xpert_agent import cli, state
from xpert_agent.install import service_of, service_text
from xpert_agent.service_files import (
    Service,
    launchd_plist,
    systemd_gateway_unit,
    systemd_system_unit,
    systemd_user_unit,
    windows_task,
)

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "script" / "_build_agent.py"


def build_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_agent", BUILD)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built: Path = build_module().build_agent(tmp_path_factory.mktemp("built"))
    return built


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "default_folder", lambda: tmp_path / "states")
    monkeypatch.setattr(cli, "default_folder", lambda: tmp_path / "states")
    return tmp_path


def run(archive: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(archive), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def test_the_archive_is_the_same_for_every_clock_and_place(archive: Path, tmp_path: Path) -> None:
    again = build_module().build_agent(tmp_path)
    assert again.read_bytes() == archive.read_bytes()
    digest = (tmp_path / "xpert-agent.pyz.sha256").read_text()
    assert len(digest.split()[0]) == 64
    assert digest.endswith("  xpert-agent.pyz\n")


def test_the_archive_runs_from_any_folder(archive: Path, tmp_path: Path) -> None:
    done = run(archive, "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1.0.0\n")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://panel.example.com/", "is not the URL of a subscription of Xpert Panel"),
        (
            "panel.example.com/api/xpert/sub?user_token=x",
            "is not the URL of a subscription of Xpert Panel",
        ),
        (
            "https://panel.example.com/api/xpert/sub",
            "is not the URL of a subscription of Xpert Panel",
        ),
        (
            "http://panel.example.com/api/xpert/sub?user_token=x",
            "readable for everybody on the way",
        ),
    ],
)
def test_a_wrong_subscription_is_one_sentence(
    home: Path, capsys: pytest.CaptureFixture[str], url: str, sentence: str
) -> None:
    (home / "url").write_text(url)
    (home / "url").chmod(0o600)
    assert cli.main(["report", "--url-file", str(home / "url")]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("xpert-agent: ") and said.count("\n") == 1


def test_without_a_subscription_it_says_what_to_give(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report"]) == 2
    assert "Give its URL once" in capsys.readouterr().err


def reporting(archive: Path, folder: Path, *arguments: str, **more: Any) -> subprocess.Popen[Any]:
    environment = {**os.environ, "XDG_STATE_HOME": str(folder), "HOME": str(folder)}
    patched = folder / "report.py"
    patched.write_text(
        "import sys, pathlib\n"
        f"sys.path.insert(0, {str(HERE.parent)!r})\n"
        "from xpert_agent import agent, cli, program\n"
        "agent.find_local_cores = list\n"
        f"cli.default_folder = lambda: pathlib.Path({str(folder / 'states')!r})\n"
        f"program.command = lambda: [sys.executable, {str(patched)!r}]\n"
        "sys.exit(cli.main())\n"
    )
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(patched), *arguments], env=environment, stderr=log, **more
        )


def command_line(process: subprocess.Popen[Any]) -> str:
    return Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


until = partial(eventually, seconds=20)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_report_leaves_the_command_line_without_the_subscription(
    archive: Path, tmp_path: Path, panel: FakePanel
) -> None:
    agent = reporting(archive, tmp_path, "report", panel.subscription)
    until(lambda: panel.messages)
    assert panel.token not in command_line(agent)
    kept = next((tmp_path / "states").glob("*/subscription"))
    assert kept.read_text().strip() == panel.subscription
    assert kept.stat().st_mode & 0o777 == 0o600
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(20) == 0
    assert panel.token not in (tmp_path / "log").read_text()


def test_report_takes_the_subscription_from_standard_input(
    archive: Path, tmp_path: Path, panel: FakePanel
) -> None:
    agent = reporting(archive, tmp_path, "report", "-", stdin=subprocess.PIPE)
    assert agent.stdin
    agent.stdin.write(panel.subscription.encode() + b"\n")
    agent.stdin.close()
    until(lambda: panel.messages)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(20) == 0


def test_a_panel_that_does_not_know_the_subscription_is_said_and_tried_again(
    archive: Path, tmp_path: Path, panel: FakePanel
) -> None:
    panel.statuses.extend([403] * 5)
    agent = reporting(
        archive, tmp_path, "report", panel.subscription.replace(panel.token, "renewed-token")
    )
    log = tmp_path / "log"
    until(lambda: "does not accept this subscription (HTTP 403" in log.read_text())
    assert "does not know this subscription (HTTP 404" in log.read_text()
    assert agent.poll() is None
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(20) == 0


@needs_sing_box
def test_run_check_and_status_of_a_gateway(archive: Path, tmp_path: Path, gateway: Gateway) -> None:
    panel = FakePanel(key="k3y-of-the-operator")
    config = tmp_path / "agent.ini"
    config.write_text(
        f"[panel]\nurl = {panel.url}\nkey = {panel.key}\n[source gw]\nkind = singbox\nurl = {gateway.url}\n"
        f"secret = {SECRET}\nservers =\n    srv-alice -> a.example.com:443/vless\n"
    )
    config.chmod(0o600)
    checked = run(archive, "check", "-c", str(config))
    assert "gw (singbox): 0 counters" in checked.stdout
    assert panel.messages == []
    with subprocess.Popen([sys.executable, "-I", str(archive), "run", "-c", str(config)]) as agent:
        until(lambda: panel.messages)
        gateway.dial("alice", 100, 200).close()
        gateway.dial("bob", 100, 200).close()
        time.sleep(0.5)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0
    assert dict(panel.booked) == {("alice", "a.example.com", 443, "vless"): [108, 200]}
    shown = run(archive, "status", "-c", str(config))
    assert "! gw: bob at srv-bob, 108 B up, 200 B down: server not known" in shown.stdout
    assert "counted 108 B up, 200 B down in 1 rows" in shown.stdout
    assert shown.returncode == 1
    assert panel.key not in shown.stdout + checked.stdout
    panel.close()


SERVICE = Service(
    "xpert-agent",
    ["/usr/bin/python3", "-I", "/a b/x%y$z.pyz", "run"],
    Path("/var/lib/x"),
    frozenset(),
)


def test_the_systemd_unit_quotes_what_systemd_would_read_otherwise() -> None:
    assert 'ExecStart=/usr/bin/python3 -I "/a b/x%%y$$z.pyz" run\n' in systemd_user_unit(SERVICE)


@pytest.mark.parametrize(
    ("kinds", "capabilities"),
    [
        (frozenset({"singbox"}), "CAP_DAC_READ_SEARCH"),
        (frozenset({"singbox", "wireguard"}), "CAP_DAC_READ_SEARCH CAP_NET_ADMIN"),
        (frozenset({"clash"}), "CAP_DAC_OVERRIDE"),
        (frozenset(), "CAP_DAC_OVERRIDE CAP_NET_ADMIN"),
    ],
)
def test_the_system_unit_has_only_the_capabilities_that_its_sources_need(
    kinds: frozenset[str], capabilities: str
) -> None:
    unit = systemd_system_unit(SERVICE._replace(kinds=kinds))
    assert f"CapabilityBoundingSet={capabilities}\n" in unit


@pytest.mark.skipif(
    not Path("/usr/bin/systemd-analyze").exists(),
    reason="systemd is not here: units are NOT checked",
)
@pytest.mark.parametrize("write", [systemd_gateway_unit, systemd_system_unit, systemd_user_unit])
def test_systemd_accepts_the_units(tmp_path: Path, write: Callable[[Service], str]) -> None:
    text = write(SERVICE)
    (tmp_path / "xpert-agent.service").write_text(text.replace('"/a b/x%%y$$z.pyz" run', "-V"))
    done = subprocess.run(
        ["/usr/bin/systemd-analyze", "verify", "--man=no", str(tmp_path / "xpert-agent.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "xpert-agent.service" not in done.stderr


def gateway_arguments(folder: Path, core: str) -> list[str]:
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_text("the-key-of-the-gateway")
    given = ["--panel", "https://panel.example.com", "--key-file", str(key), "--sing-box", core]
    return ["install", "--gateway", "--print", *given]


def test_the_unit_of_a_gateway_lets_its_core_outlive_the_agent_and_has_whole_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert cli.main(gateway_arguments(tmp_path, sys.executable)) == 0
    unit = capsys.readouterr().out
    core, key = Path(sys.executable).resolve(), tmp_path / "key"
    assert f"gateway --panel https://panel.example.com --key-file {key} --sing-box {core} --state /var/lib/xpert-gateway\n" in unit  # fmt: skip
    assert "the-key" not in unit
    for line in ("KillMode=process", "OOMPolicy=continue", "ProtectSystem=strict", "ReadWritePaths=/var/lib/xpert-gateway", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"):  # fmt: skip
        assert f"{line}\n" in unit
    assert "MemoryMax" not in unit


@pytest.mark.parametrize(
    ("user", "arguments", "sentence"),
    [
        (0, ["install", "--gateway", "--print"], "needs --panel and --key-file"),
        (0, ["--sing-box", "no-such-core"], "sing-box is not here"),
        (1000, [], "set up by root"),
    ],
)
def test_a_gateway_that_cannot_be_installed_says_why(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    user: int,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr("os.getuid", lambda: user)
    whole = arguments[:1] == ["install"]
    given = arguments if whole else gateway_arguments(tmp_path, sys.executable) + arguments
    assert cli.main(given) == 2
    assert sentence in capsys.readouterr().err


def test_launchd_and_windows_call_the_same_command() -> None:
    assert b"<string>/a b/x%y$z.pyz</string>" in launchd_plist(SERVICE)
    task = windows_task(SERVICE, "-I x&y")
    assert "<Arguments>-I x&amp;y</Arguments>" in task
    assert "<ExecutionTimeLimit>PT0S</ExecutionTimeLimit>" in task


def test_no_secret_is_in_the_service(
    panel: FakePanel, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "url").write_text(panel.subscription)
    assert cli.main(["install", "--print", "--url-file", str(home / "url")]) == 0
    printed = capsys.readouterr().out
    assert "report --state" in printed
    assert panel.token not in printed
    assert service_text(service_of("x", ["run"], home, frozenset()))
