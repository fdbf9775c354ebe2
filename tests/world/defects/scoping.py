"""Defects in whose sessions a key reaches: another operator's, another terminal's."""

from typing import Any

from app.api.routes import ops
from app.domain.session.payment_session import PaymentSession
from app.flows.admin import settle_manually
from app.flows.terminal import request_stop
from app.store.db.scope import EVERY, limited_to
from app.store.sessions.session_filter import SessionFilter
from tests.world.defects.planting import Defect, substitute
from tests.world.faults import monta, site

_SETTLE = settle_manually.settle_manually


async def _settle_any(
    context: Any, session_id: Any, _owner: SessionFilter, *, amount_minor: int, reason: str, by: Any
) -> PaymentSession:
    """Ignores whose key it is, here and in what the database shows."""
    with limited_to(EVERY):
        return await _SETTLE(
            context, session_id, SessionFilter(), amount_minor=amount_minor, reason=reason, by=by
        )


def _at_any_terminal(*, terminal_id: Any) -> SessionFilter:
    """Ignores at which terminal the card is shown."""
    return SessionFilter()


DEFECTS: tuple[Defect, ...] = (
    Defect(
        name="operations settle sessions of every operator",
        plant=substitute(ops, "settle_manually", _settle_any),
        under=(monta.two_operators, site.outsiders),
    ),
    Defect(
        name="a card stops its session at any terminal",
        plant=substitute(request_stop, "SessionFilter", _at_any_terminal),
        under=(site.outsiders,),
    ),
)
