"""Ends the demo early, with a plain message. On signals, a closed terminal or a failure."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class DemoFailed(Exception):
    """The demo failed. The text says what went wrong and shows the end of the relevant log."""


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The demo was asked to end. `status` is the exit status that shells expect: 130 for Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class Interrupts:
    """Raises Interrupted in the main thread for signals within `caught`. For each one, except where held or handled."""

    def __init__(self) -> None:
        self._pending: int | None = None
        self._holds = 0
        self._handler: Callable[[], object] | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Installs the handlers for the block."""
        before = {number: signal.signal(number, self._arrived) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Finishes the block before a signal takes effect. It is raised at the end, also in place of an error, which
        it most likely caused (Ctrl-C reaches every process in the foreground)."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self.check()

    @contextmanager
    def handled_by(self, handler: Callable[[], object]) -> Iterator[None]:
        """Calls `handler` on a signal within the block instead. Interrupted is raised at its end."""
        self._handler = handler
        try:
            with self.held():
                yield
        finally:
            self._handler = None

    def ignore(self) -> None:
        """Ignores signals from now on: clean-up runs, within written bounds."""
        self._holds += 1

    def check(self) -> None:
        """Raises a signal that came while it was held."""
        if self._pending is not None and not self._holds:
            number, self._pending = self._pending, None
            raise Interrupted(number)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        self._pending = number
        if self._handler is not None:
            self._handler()
        self.check()
