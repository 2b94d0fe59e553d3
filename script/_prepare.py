"""The steps of ``script/server`` between installing packages and starting gunicorn.

Creates ``.env``, the database and the static files if they are missing. Errors that an operator
can fix stop the start with one sentence.
"""

import errno
import hashlib
import io
import os
import re
import secrets
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import django
import environ
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

from operations import distribution
from operations.databases import citus
from operations.hosts import join_host_port
from script._build_agent import build_agent

ROOT = Path(__file__).resolve().parent.parent
# The mark is in .venv, because other packages have other static files.
COLLECTED = Path(sys.prefix) / ".collected"
# A line that sets no key, as django-environ reads it.
EMPTY_KEY = re.compile(rb"""(?m)^(?:export )?SECRET_KEY=['" \t]*(?=\r?$)""")


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
    make_served_files()
    listens_on = join_host_port(settings.HOST.strip("[]"), settings.PORT)
    base_path = settings.FORCE_SCRIPT_NAME or ""
    say(f"Xpert Panel listens on http://{listens_on}{base_path}/")


def make_env_file() -> None:
    """Copy .env.example with a secret key; an existing file only gets a missing key."""
    if "XPERT_ENV_FILE" in os.environ:
        return
    path = ROOT / ".env"
    if os.path.lexists(path):
        add_secret_key(path)
        return
    write_private(path, with_secret_key((ROOT / ".env.example").read_bytes()))
    say(
        f"Wrote {path} with a random secret key; it opens the panel to this machine only, for a first look."
    )


def add_secret_key(path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        stop(f"{path} cannot be read ({error.strerror}).")
    if "SECRET_KEY" in os.environ or has_secret_key(content):
        return
    write_private(path.resolve(), with_secret_key(content))
    say(f"Added a random SECRET_KEY to {path}; the rest is unchanged.")


def has_secret_key(content: bytes) -> bool:
    """Parsed like the settings do; a file that is not UTF-8 is refused later by the settings."""
    found: dict[str, str] = {}
    reader: Any = type(
        "EnvFile", (environ.Env,), {"ENVIRON": found}
    )  # does not change our own environment
    try:
        reader.read_env(io.StringIO(content.decode()))
    except UnicodeDecodeError:
        return True
    return bool(found.get("SECRET_KEY", "").strip())


def with_secret_key(content: bytes) -> bytes:
    """Replace an empty key, else append one."""
    line = f"SECRET_KEY={secrets.token_urlsafe(50)}".encode()
    replaced, count = EMPTY_KEY.subn(line, content)
    if count:
        return replaced
    gap = b"" if not content or content.endswith(b"\n") else b"\n"
    return content + gap + line + b"\n"


def write_private(path: Path, content: bytes) -> None:
    """Write atomically, readable only by the owner."""
    scratch = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=".env.", dir=path.parent)  # mode 0600
        scratch = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if path.exists():
                keep_owner(file.fileno(), path.stat())
            file.flush()
            os.fsync(descriptor)
        scratch.rename(path)
    except OSError as error:
        if scratch is not None:
            scratch.unlink(missing_ok=True)
        stop(f"{path} cannot be written ({error.strerror}); it needs a line SECRET_KEY=….")


def keep_owner(descriptor: int, status: os.stat_result) -> None:
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, status.st_uid, status.st_gid)


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
        sys.stderr.write(
            f"{word}: {message.msg} {message.hint or ''}".rstrip() + f" ({message.id})\n"
        )
    if any(message.is_serious() for message in found):
        stop("not started; the errors above say what to change in .env or the environment.")


def check_address(host: str, port: int) -> None:
    """Check early, because gunicorn tries a used port five times and shows a traceback for a foreign host."""
    bare = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((bare, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            stop(
                f"Port {port} of {host} is in use: stop what listens there, or choose another with PORT=8001."
            )
        if error.errno == errno.EACCES:
            stop(
                f"Port {port} needs root's rights: choose one from 1024 up with PORT, and put a web server before it."
            )
        stop(f"HOST={host} is not an address of this machine ({error.strerror}).")


def make_database() -> None:
    if connection.vendor == "sqlite":
        make_sqlite_file(Path(connection.settings_dict["NAME"]))
    try:
        if citus.is_worker():
            check_worker()
            return
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            say("Bringing the database up to date.")
            call_command("migrate", interactive=False, verbosity=0)
        if not get_user_model().objects.filter(is_superuser=True).exists():
            say("Nobody can sign in to the admin yet: .venv/bin/python manage.py createsuperuser")
    except (DatabaseError, ImproperlyConfigured, InconsistentMigrationHistory) as error:
        stop(
            f"The database {connection.settings_dict['NAME']} cannot be used: {' '.join(str(error).split())}"
        )


def check_worker() -> None:
    """A worker of a cluster has only the tables that a report needs; the coordinator brings them up to date."""
    if old := distribution.outdated():
        stop(
            f"The table {old[0]} of this cluster is older than this release:"
            " run migrate and distribute_citus at the coordinator first."
        )
    say(
        "This is a worker of a Citus cluster: the panel takes reports here, and the coordinator's does the rest."
    )


def make_sqlite_file(path: Path) -> None:
    """Readable only by the owner, because it holds tokens; SQLite gives its companion files the same mode."""
    hint = "make it writable or choose another with XPERT_TRAFFIC_DB_PATH."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        stop(f"The database file {path} cannot be written ({error.strerror}): {hint}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        stop(f"The data folder {path.parent} cannot be written: {hint}")


def make_served_files() -> None:
    """Everything that is served as a file: static files and the agent."""
    collect_static_files()
    try:
        build_agent(settings.PUBLIC_FOLDER / "agent")
    except OSError as error:
        stop(f"The agent cannot be built in {settings.PUBLIC_FOLDER} ({error.strerror}).")


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
            # Without the folder, because an installation is built in one folder and moved to another.
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
