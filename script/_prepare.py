"""What ``script/server`` does between the packages and gunicorn, in one process.

Makes ``.env``, the database and the static files, or leaves them alone when they
are there. What an operator can put right ends the start with one sentence.
"""

import errno
import hashlib
import os
import re
import secrets
import socket
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import get_finders
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor

ROOT = Path(__file__).resolve().parent.parent
# A server with other packages has other static files: the mark lives and dies with .venv.
COLLECTED = Path(sys.prefix) / ".collected"


def say(sentence: str) -> None:
    print(sentence, flush=True)  # noqa: T201


def stop(sentence: str) -> NoReturn:
    sys.exit(f"server: {sentence}")


def main() -> None:
    make_env_file()
    load_settings()
    check_settings()
    check_address(settings.HOST, int(settings.PORT))
    make_database()
    collect_static_files()
    host = f"[{settings.HOST}]" if ":" in settings.HOST.strip("[]") else settings.HOST
    say(f"Xpert Panel listens on http://{host}:{settings.PORT}/")


def make_env_file() -> None:
    """A copy of .env.example with a secret key; a file that exists is the operator's and stays as it is."""
    if "XPERT_ENV_FILE" in os.environ:
        return
    path = ROOT / ".env"
    if os.path.lexists(path):
        if not os.access(path, os.R_OK):
            stop(f"{path} cannot be read.")
        return
    key = f"SECRET_KEY={secrets.token_urlsafe(50)}"
    text = re.sub(r"(?m)^SECRET_KEY=.*$", key, (ROOT / ".env.example").read_text(encoding="utf-8"))
    try:
        # Renamed when whole, and mkstemp gives it mode 0600.
        descriptor, name = tempfile.mkstemp(prefix=".env.", dir=ROOT)
        os.close(descriptor)
        Path(name).write_text(text, encoding="utf-8")
        Path(name).rename(path)
    except OSError as error:
        stop(f"{path} cannot be written ({error.strerror}).")
    say(f"Wrote {path} with a random secret key; it opens the panel to this machine only, for a first look.")


def load_settings() -> None:
    try:
        django.setup()
    except UnicodeDecodeError:
        stop(f"{ROOT / '.env'} is not a UTF-8 text file.")
    except ImproperlyConfigured as error:
        stop(f"The settings cannot be used: {error}")
    if not isinstance(settings.PORT, int) or not 1 <= settings.PORT <= 65535:
        stop(f"PORT takes a number from 1 to 65535, not {settings.PORT!r}.")
    if not isinstance(settings.WEB_CONCURRENCY, int) or settings.WEB_CONCURRENCY < 1:
        stop(f"WEB_CONCURRENCY takes a number from 1 up, not {settings.WEB_CONCURRENCY!r}.")


def check_settings() -> None:
    found = [message for message in run_checks() if not message.is_silenced()]
    for message in found:
        word = "Error" if message.is_serious() else "Warning"
        sys.stderr.write(f"{word}: {message.msg} {message.hint or ''}".rstrip() + f" ({message.id})\n")
    if any(message.is_serious() for message in found):
        stop("not started; the errors above say what to change in .env or the environment.")


def check_address(host: str, port: int) -> None:
    """gunicorn would try a port in use five times, and end in a traceback on a host that is not here."""
    bare = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((bare, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            stop(f"Port {port} of {host} is in use: stop what listens there, or choose another with PORT=8001.")
        if error.errno == errno.EACCES:
            stop(f"Port {port} needs root's rights: choose one from 1024 up with PORT, and put a web server before it.")
        stop(f"HOST={host} is not an address of this machine ({error.strerror}).")


def make_database() -> None:
    if connection.vendor == "sqlite":
        make_sqlite_file(Path(connection.settings_dict["NAME"]))
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            say("Bringing the database up to date.")
            call_command("migrate", interactive=False, verbosity=0)
        if not get_user_model().objects.filter(is_superuser=True).exists():
            say("Nobody can sign in to the admin yet: .venv/bin/python manage.py createsuperuser")
    except (DatabaseError, ImproperlyConfigured, InconsistentMigrationHistory) as error:
        stop(f"The database {connection.settings_dict['NAME']} cannot be used: {' '.join(str(error).split())}")


def make_sqlite_file(path: Path) -> None:
    """Only the owner may read it, for it holds the tokens; SQLite makes its companions alike."""
    hint = "make it writable or choose another with XPERT_TRAFFIC_DB_PATH."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        stop(f"The database file {path} cannot be written ({error.strerror}): {hint}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        stop(f"The data folder {path.parent} cannot be written: {hint}")


def collect_static_files() -> None:
    fingerprint = static_fingerprint()
    manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
    if manifest.exists() and COLLECTED.exists() and COLLECTED.read_text() == fingerprint:
        return
    say("Collecting static files.")
    try:
        call_command("collectstatic", interactive=False, verbosity=0)
        COLLECTED.write_text(fingerprint)
    except OSError as error:
        stop(f"The static files cannot be collected in {settings.STATIC_ROOT} ({error.strerror}).")


def static_fingerprint() -> str:
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list(None):
            status = Path(storage.path(name)).stat()
            digest.update(f"{storage.path(name)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
