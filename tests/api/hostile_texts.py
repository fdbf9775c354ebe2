"""A text in every field that a terminal, Monta or an operator can write, in a session and all that stands beside it."""

from dataclasses import replace

from sqlalchemy import Text, text

from app.domain.session.attention import Acknowledgement, Attention
from app.domain.session.payment_session import Card
from app.store.tables import metadata
from tests.api.service import Service

FREE = frozenset(
    {"name", "provider", "address", "model", "problem", "reported_message", "last_used_from", "detail"}
    | {"access_problem", "reconcile_problem", "setup_problem", "sync_problem", "webhook_problem"}
    | {"display_reference", "closed_because", "closed_by", "card_last4"}
)
"""Columns that hold words rather than ids, codes or addresses of the protocol."""
KEPT = frozenset({"payment_sessions", "settlements", "captures", "journal"})
"""Tables whose rows are written by themselves: as a whole, or never changed."""


async def write_everywhere(service: Service, session_id: str, words: str) -> None:
    """Puts the words into every text of a session, its journal, and the rows of all other tables."""
    await _into_session(service, session_id, words)
    await service.show("101")
    statements = [
        f'UPDATE {table.name} SET "{column.name}" = :text'
        for table in metadata.sorted_tables
        if table.name not in KEPT
        for column in table.columns
        if isinstance(column.type, Text) and column.name in FREE
    ]
    async with service.context.database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement), {"text": words})
        line = (
            "INSERT INTO journal (session_id, operator_id, at, kind, source, detail, hash)"
            " SELECT id, operator_id, CAST(:now AS timestamptz), :text, :text,"
            " jsonb_build_object(CAST(:text AS text), CAST(:text AS text), 'reason', CAST(:text AS text)),"
            " ''::bytea FROM payment_sessions WHERE id = :session"
        )
        given = {"text": words, "session": session_id, "now": service.context.clock.now()}
        await connection.execute(text(line), given)


async def _into_session(service: Service, session_id: str, words: str) -> None:
    before = await service.charging(session_id, "77")
    now = service.context.clock.now()
    seen = Acknowledgement(at=now, by=words, note=words)
    await service.change(
        session_id,
        display_reference=words,
        authorization=replace(
            before.authorization,
            reference=words,
            card=Card(brand=words, last4=words, fingerprint=words),
        ),
        metadata={words: words},
        tariff_source=words,
        tariff_gaps=(words,),
        attention=(
            Attention(code="other", detail=words, since=now),
            Attention(code=words, detail=words, since=now),
            Attention(code="shortfall", detail=words, since=now, acknowledged=seen),
        ),
    )
