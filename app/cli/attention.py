"""Command that lists what operations should look at: `tapwatt attention`."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer

from app.cli.common import AsJson, say, with_context
from app.cli.output.tables import fitted
from app.domain.alerts.causes import of_operator, words
from app.domain.reconciliation.at_risk import at_risk_minor
from app.domain.session.attention import Severity
from app.domain.session.payment_session import PaymentSession
from app.domain.units.money import format_minor
from app.flows.admin import queries
from app.flows.admin.stored_state import stored_state
from app.flows.context import Context
from app.settings import load_settings
from app.store.sessions.session_filter import SessionFilter

app = typer.Typer()
Item = dict[str, str | None]


@app.command()
def attention(
    limit: Annotated[
        int, typer.Option(min=1, max=queries.MAX_PAGE, help="Sessions to show, the newest first.")
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """List what needs a person: accounts and sessions, what is at risk, and what to do. Critical items come first."""

    async def find(context: Context) -> list[Item]:
        now, state = context.clock.now(), await stored_state(context)
        needing = await queries.sessions(context, SessionFilter(needs_attention=True), limit=limit)
        found: list[Item] = [
            _item(c.code, c.operator_id or "", c.detail, None, None)
            for account in state.accounts
            for c in of_operator(account, now)
        ]
        for session in needing.sessions:
            found += _of_session(session)
        return sorted(found, key=lambda item: list(Severity).index(Severity(item["severity"] or "")))

    items = with_context(load_settings(), find)
    say(json.dumps(items) if as_json else _table(items))


def _of_session(session: PaymentSession) -> Iterator[Item]:
    for item in session.attention:
        if item.acknowledged is None:
            amount = at_risk_minor(session, item)
            risk = None if amount is None else format_minor(amount, session.authorization.currency)
            yield _item(item.code, session.id, item.detail, risk, item.since)


def _item(code: str, about: str, detail: str, at_risk: str | None, since: datetime | None) -> Item:
    row = words(code)
    return {
        "severity": row.severity.value,
        "code": code,
        "about": about,
        "detail": detail,
        "at_risk": at_risk,
        "since": None if since is None else since.isoformat(timespec="seconds"),
        "what_to_do": row.action,
    }


def _table(items: list[Item]) -> str:
    if not items:
        return "Nothing needs attention."
    columns = ("severity", "code", "about", "at_risk", "since", "detail", "what_to_do")
    rows = [[item[name] or "" for name in columns] for item in items]
    return fitted([name.replace("_", " ") for name in columns], rows)
