"""Keeps encoded views of sessions. Lists and polls show most sessions again unchanged."""

from app.domain.units.ids import SessionId
from app.store.session_states import SessionState

MOST_KEPT = 1_000
"""Views kept by a process: five of the longest pages, less than 5 MB."""


class KeptViews:
    """Encoded views by session, each with its row's state.

    A view depends on that row and the process's policy alone, so one of the present state is never stale.
    """

    def __init__(self) -> None:
        self._kept: dict[SessionId, tuple[SessionState, bytes]] = {}

    def get(self, state: SessionState) -> bytes | None:
        """Returns the view of this very state. None: make it."""
        known, view = self._kept.get(state.id, (None, None))
        return view if known == state else None

    def of(self, session_id: SessionId) -> tuple[SessionState, bytes] | None:
        """Returns a session's kept view, and the state that it shows. It may be outdated."""
        return self._kept.get(session_id)

    def put(self, state: SessionState, view: bytes) -> bytes:
        """Keeps a session's view, and drops the one kept longest. It replaces the session's earlier one."""
        self._kept.pop(state.id, None)
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[state.id] = state, view
        return view

    def __len__(self) -> int:
        return len(self._kept)
