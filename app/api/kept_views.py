"""Keeps encoded views of sessions. Lists and polls show most sessions again unchanged."""

from app.domain.units.ids import SessionId
from app.store.session_states import SessionState

MOST_BYTES = 4 * 1024 * 1024
"""Of the views of one kind that a process keeps: those of about 3,000 sessions."""
BESIDE_BYTES = 700
"""What a view's state and key take beside it."""


class KeptViews:
    """Encoded views by session, each with its row's state.

    A view depends on that row and the process's policy alone, so one of the present state is never stale.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[SessionId, str], tuple[SessionState, bytes]] = {}
        self._bytes = 0

    def get(self, state: SessionState) -> bytes | None:
        """Returns the view of this very state. None: make it."""
        known, view = self._kept.get((state.id, ""), (None, None))
        return view if known == state else None

    def of(self, session_id: SessionId, language: str = "") -> tuple[SessionState, bytes] | None:
        """Returns a session's kept view, and the state that it shows. It may be outdated."""
        return self._kept.get((session_id, language))

    def put(self, state: SessionState, view: bytes, language: str = "") -> bytes:
        """Keeps a session's view, and drops those kept longest. It replaces the session's earlier one of the language,
        which is empty for views that have none."""
        key = state.id, language
        self._drop(key)
        self._kept[key] = state, view
        self._bytes += len(view) + BESIDE_BYTES
        while self._bytes > MOST_BYTES:
            self._drop(next(iter(self._kept)))
        return view

    def _drop(self, key: tuple[SessionId, str]) -> None:
        _, view = self._kept.pop(key, (None, None))
        if view is not None:
            self._bytes -= len(view) + BESIDE_BYTES

    def __len__(self) -> int:
        return len(self._kept)
