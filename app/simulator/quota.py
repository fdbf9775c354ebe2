"""Monta's rate limit: fixed windows for each credential, told in RateLimit-* headers."""

from datetime import datetime


class Quota:
    """`limit` requests for each window of `window_s`, counted until the next window starts."""

    def __init__(self, limit: int, window_s: int) -> None:
        self.limit = limit
        self.window_s = window_s
        self._window = -1
        self._used = 0

    def take(self, at: datetime) -> bool:
        """Count one request; False: over the limit."""
        window = int(at.timestamp()) // self.window_s
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        return self._used <= self.limit

    def headers(self, at: datetime, resets_in_s: float | None = None) -> dict[str, str]:
        """The five headers; `resets_in_s` overrides the window's end where a 429 is staged."""
        left_s = self.window_s - int(at.timestamp()) % self.window_s
        remaining = max(0, self.limit - self._used) if resets_in_s is None else 0
        return {
            "ratelimit-policy": "Quota",
            "ratelimit-quota": str(self.limit),
            "ratelimit-timewindow": str(self.window_s),
            "ratelimit-remaining": str(remaining),
            "ratelimit-resetsin": str(left_s if resets_in_s is None else max(1, round(resets_in_s))),
        }
