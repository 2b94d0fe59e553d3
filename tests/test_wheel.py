"""The wheel holds everything that the apps need, and each app works from it in an empty project."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent
APPS = (
    "operations",
    "traffic",
    "subscriptions",
    "gateways",
    "integrations.marzban",
    "integrations.three_x_ui",
    "integrations.pulls",
    "integrations.moving",
    "integrations.telegram",
)
PROJECT = """
SECRET_KEY = "only-for-tests-" + "0123456789abcdef" * 4
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", {apps}]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "project.db"}}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "urls"
USE_TZ = True
"""
# What a project that installs traffic must have: check traffic.E011.
BACKENDS = """
AUTHENTICATION_BACKENDS = ["traffic.backends.ResellerBackend", "django.contrib.auth.backends.ModelBackend"]
"""
# Simulates missing extras: importing them fails.
WITHOUT = "import sys; sys.modules.update(dict.fromkeys(['unfold', 'psycopg', 'redis', 'grpc']))\n"
SMOKE = {
    "operations": "from operations.api.authentication import create_api_key; create_api_key('a', 'read')",
    "traffic": "from django.core.management import call_command; "
    "call_command('simulate_traffic', subscribers=2, servers=1, days=1)",
    "subscriptions": "from subscriptions import links; "
    "assert links.parse('trojan://secret@vpn.example.com:443').server == 'vpn.example.com'",
    "integrations.marzban": "from integrations.marzban import wire; assert wire.person('1.alice')",
    "integrations.pulls": "from django.core.management import call_command; call_command('pull_usage')",
    "integrations.moving": "from integrations.moving import old_tokens; assert old_tokens.read('x') is None",
    "integrations.three_x_ui": "from integrations.three_x_ui import wire; wire.decode(b'{}')",
    "integrations.telegram": "from django.core.management import call_command; call_command('telegram_bot')",
    "gateways": "from django.core.management import call_command; "
    "call_command('create_gateway', 'g', host='gw.example.com', protocol=['shadowsocks'])",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source")
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "-w", folder, source], check=True
    )
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


def test_it_holds_every_file_that_the_apps_need_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        held = set(packed.namelist())
    for app in APPS:
        files = [path for path in (REPOSITORY / app.replace(".", "/")).rglob("*") if path.is_file()]
        needed = {
            str(path.relative_to(REPOSITORY)) for path in files if "__pycache__" not in path.parts
        }
        assert not needed - held
    assert not [name for name in held if name.startswith(("tests", "benchmarks", "script"))]


@pytest.mark.parametrize("app", APPS)
def test_each_app_works_without_the_extras(app: str, installed: Path, tmp_path: Path) -> None:
    needed = APPS[: APPS.index(app) + 1]
    project = PROJECT.format(apps=str(list(needed))[1:-1])
    (tmp_path / "settings.py").write_text(project + (BACKENDS if "traffic" in needed else ""))
    (tmp_path / "urls.py").write_text("urlpatterns = []\n")
    (tmp_path / "try_it.py").write_text(
        f"{WITHOUT}import django\ndjango.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('check', fail_level='WARNING')\n"
        "call_command('migrate', verbosity=0)\n"
        f"{SMOKE[app]}\n"
        f"import {app}\nassert {app}.__file__.startswith({str(installed)!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "try_it.py"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(installed),
            "DJANGO_SETTINGS_MODULE": "settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
