"""Threads for work that its request does not wait for to the end. An idle one keeps its database connection for a while."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from django.db import close_old_connections, connection

# Seconds without work after which a thread ends.
IDLE = 60.0

Job = Callable[[], None]


class Threads:
    """At most ``most`` of them, made when they are needed."""

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._free = most
        self._idle = 0
        self._jobs: SimpleQueue[Job] = SimpleQueue()

    def start(self, job: Job) -> bool:
        """Do it, which must not raise. False: all are busy, or the system gives no more threads."""
        with self._lock:
            if not self._free:
                return False
            self._free -= 1
            if self._idle:
                self._idle -= 1
                self._jobs.put(job)
                return True
        return self._is_begun(job)

    def _is_begun(self, job: Job) -> bool:
        try:
            threading.Thread(target=self._run, args=(job,), name="inform", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._free += 1
            return False
        return True

    def _run(self, job: Job | None) -> None:
        try:
            while job:
                close_old_connections()
                job()
                job = self._next()
        finally:
            connection.close()

    def _next(self) -> Job | None:
        with self._lock:
            self._free += 1
            self._idle += 1
        try:
            return self._jobs.get(timeout=IDLE)
        except Empty:
            pass
        with self._lock:
            if self._idle:
                self._idle -= 1
                return None
        return self._jobs.get()  # a job was given to this thread a moment ago
