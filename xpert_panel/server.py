"""gunicorn's settings, for ``script/server``: ``gunicorn -c python:xpert_panel.server``."""

import gc
import os
import shutil
import signal
import sys
from typing import Any

_given = set(os.environ)

from operations.hosts import join_host_port  # noqa: E402

from . import settings  # noqa: E402  it puts what .env says into the environment
from .last_connections import begin_no_more  # noqa: E402

_from_env_file = set(os.environ) - _given

# Many threads share one interpreter. A thread that returns from the disk or from SQLite must not wait the usual
# 5 ms for its turn, because other threads wait for it. With a much shorter interval threads only wake each other.
sys.setswitchinterval(0.002)

wsgi_app = "xpert_panel.wsgi:application"
bind = join_host_port(settings.HOST.strip("[]"), settings.PORT)
workers = settings.WEB_CONCURRENCY
worker_class = "xpert_panel.worker.BoundedWorker"
# Far more threads than cores, because most of them wait for the disk or for slow clients.
threads = 64
# Idle connections stay open, because reporters post repeatedly.
keepalive = 15
# In-flight requests get this long to be answered after SIGTERM.
graceful_timeout = 30
timeout = 120
# The application evaluates X-Forwarded-* by XPERT_TRUSTED_PROXIES, so gunicorn ignores the headers.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
# The request line is logged by the application, with tokens masked.
accesslog = None
errorlog = "-"
# Its warnings quote the request line of a malformed request, including tokens.
loglevel = "error"
control_socket_disable = True
# A token may have 255 characters, percent-encoded.
limit_request_line = 8190


def when_ready(server: Any) -> None:
    """Makes Ctrl-C act like SIGTERM: in-flight requests are answered first.

    With SIGTERM no new connection begins, so that nobody's is dropped who could ask another machine.
    """
    signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    stop: Any = signal.getsignal(signal.SIGTERM)

    def end(*args: Any) -> None:
        begin_no_more(listener.sock for listener in server.LISTENERS)
        stop(*args)

    signal.signal(signal.SIGTERM, end)


def post_worker_init(worker: Any) -> None:
    """Ignores Ctrl-C, which a terminal sends to all processes; the master stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Loaded code stays in memory, so the garbage collector can skip it. It also runs less often than every 700 objects.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    from integrations.three_x_ui import draining  # noqa: PLC0415  its models are loaded by now

    draining.start()


def on_reload(server: Any) -> None:
    """SIGHUP: new workers read code and .env again, while the old ones finish their requests.

    HOST, PORT and WEB_CONCURRENCY belong to the master and need a restart.
    """
    for name in _from_env_file:
        os.environ.pop(name, None)
    sys.modules.pop("xpert_panel.settings", None)


def on_exit(server: Any) -> None:
    """Delete the folder of counters that script/server created for this run."""
    if folder := os.environ.get("XPERT_METRICS_FOLDER"):
        shutil.rmtree(folder, ignore_errors=True)
