"""Progress bars for commands with stages: only on a terminal, so that cron's mail stays short."""

from types import TracebackType
from typing import Any, Self

from tqdm import tqdm


class Stages:
    """Called with a stage, the amount done and the total (0 = unknown); one bar per stage."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._close()
            self._stage = stage
            # disable=None: shown only on a terminal.
            self._bar = tqdm(
                desc=stage, total=total or None, unit_scale=True, disable=None, leave=False
            )
        self._bar.update(done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
