"""Commands about personal data: erase or export a card's. A session's card is erased; all that is kept of one is
exported."""

from typing import Annotated, Any

import typer

from app.cli.common import AsJson, fail, print_facts, say, with_context
from app.cli.sessions import CALLER, fail_unknown, session_app
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import OperatorId, SessionId
from app.flows.admin.manage_terminals import require
from app.flows.admin.personal_data import StillNeeded, erase_card, export_card
from app.flows.context import Context, SessionUnknown
from app.settings import load_settings
from app.store.sessions.session_filter import EVERY_SESSION
from app.strict_json import dump_json

app = session_app
"""With the commands of this module."""


@session_app.command("erase-card")
def session_erase_card(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")], as_json: AsJson = False
) -> None:
    """Erase a session's card and metadata; amounts, tariff and journal stay."""

    async def run(context: Context) -> PaymentSession:
        return await erase_card(context, SessionId(session_id), EVERY_SESSION, by=CALLER)

    try:
        with_context(load_settings(), run)
    except SessionUnknown:
        fail_unknown(session_id)
    except StillNeeded as error:
        fail(f"Not yet: {error}.")
    print_facts(as_json, erased=session_id)


@session_app.command("export")
def session_export(
    card: Annotated[
        str, typer.Option("--card", metavar="TOKEN", help="A card's fingerprint or account reference.")
    ],
    operator: Annotated[str | None, typer.Option(metavar="OPERATOR", help="Only this operator.")] = None,
    as_json: AsJson = True,  # it always is; taken as by every command
) -> None:
    """Print as JSON what is kept of one card's sessions. For the person who asks for it."""

    async def run(context: Context) -> str:
        owner = OperatorId(operator) if operator else None
        await require(context, owner)
        found: Any = await export_card(context, card, owner)
        return dump_json(found)

    say(with_context(load_settings(), run))
