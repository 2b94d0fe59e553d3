"""script/install and script/uninstall on a machine without systemd, in a temporary folder."""

import getpass
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.conf import settings

from tests.ports import free_port
from tests.test_scripts import PATIENCE, REPOSITORY, environment

pytestmark = [
    pytest.mark.skipif(
        settings.DATABASES["default"]["ENGINE"] != "django.db.backends.sqlite3",
        reason="an installation is the same on any database",
    ),
    pytest.mark.slow,
]
MIGRATION = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("subscriptions", "{before}")]
    operations = [migrations.CreateModel("Broken", [("id", models.BigAutoField(primary_key=True))])]
"""


class Machine:
    """A checkout, and the folders of its installation."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.prefix = folder / "checkout", folder / "opt/panel"
        self.units, self.bin = folder / "units", folder / "bin"
        self.units.mkdir(parents=True)
        self.fresh_checkout()
        self.borrow_packages()

    def fresh_checkout(self) -> None:
        shutil.rmtree(self.checkout, ignore_errors=True)
        self.checkout.mkdir()
        for name in re.findall(
            r"(?sm)^code=\((.*?)\)", (REPOSITORY / "script/install").read_text()
        )[0].split():
            path = REPOSITORY / name
            if path.is_dir():
                shutil.copytree(
                    path, self.checkout / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(path, self.checkout / name)

    def borrow_packages(self) -> None:
        """Reuse the packages that run the tests, so that nothing is downloaded."""
        venv = self.prefix / ".venv"
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=PATIENCE
        )
        packages = next((venv / "lib").glob("python*/site-packages"))
        (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
        version = subprocess.run(
            [venv / "bin/python", "-V"], capture_output=True, text=True, check=True
        )
        sums = subprocess.run(
            ["sha256sum", "requirements.txt"],
            cwd=self.checkout,
            capture_output=True,
            text=True,
            check=True,
        )
        (venv / ".installed").write_text(version.stdout + sums.stdout)

    def run(
        self, script: Path, *arguments: object, **values: object
    ) -> subprocess.CompletedProcess[str]:
        named = {
            "PREFIX": self.prefix,
            "UNITS": self.units,
            "BIN": self.bin,
            "PANEL_USER": getpass.getuser(),
        }
        return subprocess.run(
            [script, *map(str, arguments)],
            env=environment(**(named | values)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )

    def install(self, *arguments: object, **values: object) -> subprocess.CompletedProcess[str]:
        return self.run(self.checkout / "script/install", *arguments, **values)

    def tables(self) -> set[str]:
        with sqlite3.connect(self.prefix / "data/traffic_stats.db") as connection:
            rows = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall()
        connection.close()
        return {name for (name,) in rows}

    def state(self) -> dict[str, tuple[int, int, int]]:
        """All files except the database, which even a read may change."""
        return {
            str(path): (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_mode)
            for folder in (self.prefix, self.units, self.bin)
            for path in folder.rglob("*")
        }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """One installation, from a file of settings."""
    folder = tmp_path_factory.mktemp("install")
    found = Machine(folder)
    env = folder / "panel.env"
    env.write_text(f"XPERT_DOMAIN=panel.example.com\nXPERT_HTTPS=True\nPORT={free_port()}\n")
    done = found.install(env)
    assert done.returncode == 0, done.stdout + done.stderr
    return found


@pytest.fixture(autouse=True)
def clean(machine: Machine) -> Iterator[None]:
    yield
    machine.fresh_checkout()


def test_a_folder_that_units_cannot_name_is_refused(machine: Machine) -> None:
    assert "without spaces" in machine.install(PREFIX="/opt/xpert panel").stderr


def test_it_asks_no_question_without_a_terminal(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    done = machine.install()
    assert done.returncode == 1
    assert "nobody to ask: name a file of settings" in done.stderr
    assert not (machine.prefix / ".env").exists()


def test_settings_get_a_secret_key_and_rights_of_their_own(machine: Machine) -> None:
    env = machine.prefix / ".env"
    assert re.match(
        r"XPERT_DOMAIN=panel.example.com\nXPERT_HTTPS=True\nPORT=\d+\nSECRET_KEY=\S{50,}\n",
        env.read_text(),
    )
    assert env.stat().st_mode & 0o777 == 0o640
    assert (machine.prefix / "data").stat().st_mode & 0o777 == 0o700


def test_units_speak_of_the_folder_that_was_asked_for(machine: Machine) -> None:
    assert names(machine.units) == names(REPOSITORY / "deploy/systemd")
    text = (machine.units / "xpert-panel.service").read_text()
    assert f"ExecStart={machine.prefix}/script/server" in text
    assert "/opt/xpert_panel" not in text
    assert f"User={getpass.getuser()}\n" in text


def test_a_command_runs_manage_py_as_the_panel(machine: Machine) -> None:
    done = machine.run(machine.bin / "xpert-panel", "check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    assert machine.install().returncode == 0  # another test may have upgraded it
    before = machine.state()
    done = machine.install()
    assert (done.returncode, done.stdout) == (
        0,
        f"install: {machine.prefix} is up to date; nothing to do.\n",
    )
    assert machine.state() == before


def test_an_upgrade_brings_the_new_code_and_keeps_settings_and_data(machine: Machine) -> None:
    machine.run(
        machine.bin / "xpert-panel", "create_subscriber", "Anna", "--token", "kept-by-the-upgrade"
    )
    env = machine.prefix / ".env"
    env.write_text(env.read_text() + "# the operator's own line\n")
    settings_before = env.read_text()
    with (machine.checkout / "traffic/units.py").open("a") as file:
        file.write("# a newer release\n")
    done = machine.install()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (machine.prefix / "traffic/units.py").read_text().endswith("# a newer release\n")
    assert env.read_text() == settings_before
    again = machine.run(
        machine.bin / "xpert-panel", "create_subscriber", "Anna", "--token", "kept-by-the-upgrade"
    )
    assert again.returncode != 0, "the token is not taken: the subscriber was lost"


def test_an_upgrade_that_does_not_come_up_is_undone_with_its_tables(machine: Machine) -> None:
    code = {path: path.read_bytes() for path in (machine.prefix / "traffic").rglob("*.py")}
    tables = machine.tables()
    migrations = machine.checkout / "subscriptions/migrations"
    last = max(path.stem for path in migrations.glob("0*.py"))
    (migrations / "9999_broken.py").write_text(MIGRATION.format(before=last))
    readiness = machine.checkout / "operations/watch/readiness.py"
    readiness.write_text(
        readiness.read_text().replace('return "The disk is full." if', 'return "broken" if True or')
    )
    done = machine.install(PATIENCE=8)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the upgrade failed and was undone" in done.stderr
    assert {path: path.read_bytes() for path in (machine.prefix / "traffic").rglob("*.py")} == code
    assert machine.tables() == tables
    assert (machine.prefix / ".failed/subscriptions/migrations/9999_broken.py").exists()


HANGING = """
import os, time
from pathlib import Path

with Path({tried!r}).open("a") as file:
    print(os.getpid(), Path(__file__).resolve(), file=file)
time.sleep(3600)
"""


def test_new_code_that_hangs_is_given_up_in_time_and_never_takes_the_place_of_the_old(
    machine: Machine, tmp_path: Path
) -> None:
    """The socket listens but no worker answers, so each try lasts until its timeout."""
    code = {path: path.read_bytes() for path in (machine.prefix / "xpert_panel").rglob("*.py")}
    packages = (machine.prefix / ".venv").stat().st_ino
    tried = tmp_path / "tried"
    (machine.checkout / "xpert_panel/wsgi.py").write_text(HANGING.format(tried=str(tried)))
    begun = time.monotonic()
    done = machine.install(PATIENCE=15)
    # 8 tries of up to 10 seconds each took 84 seconds.
    assert time.monotonic() - begun < 60
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no answer within 15 seconds" in done.stderr
    assert "the upgrade failed and was undone" in done.stderr
    pid, path = tried.read_text().splitlines()[0].split()
    assert path == str(machine.prefix / ".incoming/xpert_panel/wsgi.py")
    assert not is_running(int(pid))
    assert {
        path: path.read_bytes() for path in (machine.prefix / "xpert_panel").rglob("*.py")
    } == code
    assert (machine.prefix / ".venv").stat().st_ino == packages
    assert "sleep(3600)" in (machine.prefix / ".failed/xpert_panel/wsgi.py").read_text()
    assert not (machine.prefix / ".incoming").exists()


def is_running(pid: int) -> bool:
    """Whether the process runs. A zombie does not count, because its new parent may reap it late."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_new_packages_that_cannot_be_installed_leave_all_as_it_was(machine: Machine) -> None:
    shutil.rmtree(machine.prefix / ".failed", ignore_errors=True)
    before = machine.state()
    (machine.checkout / "requirements.txt").write_text("./no-such-package-anywhere\n")
    done = machine.install()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "installing requirements.txt failed" in done.stderr
    assert "the upgrade failed and was undone" in done.stderr
    shutil.rmtree(machine.prefix / ".failed")
    after = machine.state()
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {path for path in changed if "/data/" not in path} <= {str(machine.prefix / "data")}


def test_a_relative_database_path_refers_to_the_installation_during_the_trial(
    machine: Machine,
) -> None:
    env = machine.prefix / ".env"
    before = env.read_text()
    env.write_text(before + "XPERT_TRAFFIC_DB_PATH='data/other.db'\n")
    try:
        with (machine.checkout / "traffic/units.py").open("a") as file:
            file.write("# another release\n")
        done = machine.install()
        assert done.returncode == 0, done.stdout + done.stderr
        assert (machine.prefix / "data/other.db").exists()
        assert not (machine.prefix / ".incoming").exists()
    finally:
        env.write_text(before)


OLD_PANEL = """#!/bin/sh
case "$2" in
    shell) echo "traffic 0009_before" ;;
    *) echo "$@" >>"{calls}" ;;
esac
"""


@contextmanager
def answering() -> Iterator[int]:
    """A port where a panel is ready."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_tables_of_an_older_layout_are_not_converted_while_the_panel_runs(tmp_path: Path) -> None:
    """Without systemd the script cannot stop it."""
    machine = Machine(tmp_path)
    shutil.rmtree(machine.prefix)
    (machine.prefix / ".venv/bin").mkdir(parents=True)
    (machine.prefix / "data").mkdir()
    (machine.prefix / ".release").touch()
    python, calls = machine.prefix / ".venv/bin/python", tmp_path / "calls"
    python.write_text(OLD_PANEL.format(calls=calls))
    python.chmod(0o755)
    with answering() as port:
        (machine.prefix / ".env").write_text(f"SECRET_KEY={'x' * 50}\nPORT={port}\n")
        done = machine.install()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "stop the panel and run this again" in done.stderr
    assert not calls.exists()
    assert not (machine.prefix / ".incoming").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install for another user")
def test_a_python_that_the_panel_cannot_run_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    tmp_path.chmod(0o700)
    env = tmp_path / "panel.env"
    env.write_text(f"PORT={free_port()}\n")
    done = machine.install(env, PANEL_USER="nobody")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "install: nobody cannot run /" in done.stderr
    assert "PYTHON=/usr/bin/python3 names another Python" in done.stderr


def test_only_installed_files_are_removed(tmp_path: Path, machine: Machine) -> None:
    other = Machine.__new__(Machine)
    other.prefix, other.units, other.bin = tmp_path / "opt", tmp_path / "units", tmp_path / "bin"
    for path in (other.prefix / "data", other.units, other.bin):
        path.mkdir(parents=True)
    (other.prefix / "data/traffic_stats.db").write_text("sums")
    (other.prefix / ".env").write_text("settings")
    (other.units / "nginx.service").touch()
    script = REPOSITORY / "script/uninstall"
    assert "was not made by script/install" in other.run(script, "--yes").stderr

    shutil.copytree(machine.units, other.units, dirs_exist_ok=True)
    shutil.copytree(machine.bin, other.bin, dirs_exist_ok=True)
    shutil.copytree(machine.prefix / "script", other.prefix / "script")
    (other.prefix / ".release").touch()
    assert "nobody to ask" in other.run(other.prefix / "script/uninstall").stderr
    assert (other.prefix / "script").exists()

    assert other.run(other.prefix / "script/uninstall", "--yes").returncode == 0
    assert names(other.prefix) == [".env", "data"]
    assert (other.prefix / "data/traffic_stats.db").read_text() == "sums"
    assert names(other.units) == ["nginx.service"]
    assert names(other.bin) == []
