"""gunicorn's settings, for ``script/server``: ``gunicorn -c python:xpert_panel.server``."""

import gc
import os
import shutil
import signal
import sys
from typing import Any

_given = set(os.environ)

from xpert_panel import settings  # noqa: E402  it puts what .env says into the environment

_from_env_file = set(os.environ) - _given

# Many threads share one interpreter. A thread that comes back from the disk or from SQLite must not wait the
# usual 5 ms for its turn, for everybody else waits for it; much less, and those that wait do nothing but wake up.
sys.setswitchinterval(0.002)

_host = f"[{settings.HOST}]" if ":" in settings.HOST and not settings.HOST.startswith("[") else settings.HOST

wsgi_app = "xpert_panel.wsgi:application"
bind = f"{_host}:{settings.PORT}"
workers = settings.WEB_CONCURRENCY
worker_class = "xpert_panel.worker.BoundedWorker"
# Many more than compute at once: most wait, for the disk or for a client that sends slowly.
threads = 64
# Idle connections are kept open: reporters post again and again.
keepalive = 15
# In-flight requests get this long to be answered after SIGTERM.
graceful_timeout = 30
timeout = 120
# Of X-Forwarded-* we believe what XPERT_TRUSTED_PROXIES says; gunicorn itself believes nobody.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
# The request line is logged by the application, with tokens masked.
accesslog = None
errorlog = "-"
# Its warnings quote the request line of a malformed request, tokens and all.
loglevel = "error"
control_socket_disable = True
# A token may have 255 characters, percent-encoded.
limit_request_line = 8190


def when_ready(server: Any) -> None:
    """Ctrl-C ends as SIGTERM does: in-flight requests are answered first."""
    signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def post_worker_init(worker: Any) -> None:
    """A terminal sends Ctrl-C to all processes; the master says when this one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What was loaded stays: the garbage collector need not look at it, nor at every 700 new objects.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def on_reload(server: Any) -> None:
    """SIGHUP: new workers read code and .env anew, while the old ones answer what they have begun.

    HOST, PORT and WEB_CONCURRENCY are the master's: they need a restart.
    """
    for name in _from_env_file:
        os.environ.pop(name, None)
    sys.modules.pop("xpert_panel.settings", None)


def on_exit(server: Any) -> None:
    """Drop the folder of counters that script/server made for this run."""
    if folder := os.environ.get("XPERT_METRICS_FOLDER"):
        shutil.rmtree(folder, ignore_errors=True)
