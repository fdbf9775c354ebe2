"""Commands about evidence: write a session's bundle, verify one. Verifying needs no database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.common import AsJson, ExitStatus, fail, with_context
from app.cli.sessions import session_app
from app.domain.evidence.verify import problems
from app.domain.units.ids import SessionId
from app.flows.context import Context, SessionUnknown
from app.flows.evidence import evidence_of
from app.monta.webhook import signature_is_valid
from app.settings import load_settings
from app.store.sessions.session_filter import EVERY_SESSION
from app.strict_json import BadJson, dump_json, load_json

MAX_BUNDLE_BYTES = 256 * 1024 * 1024

evidence_app = typer.Typer(no_args_is_help=True, help="The evidence of a payment session.")


@session_app.command("evidence")
def session_evidence(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="ps_...")],
    as_json: AsJson = True,  # it always is; taken as by every command
) -> None:
    """Print all evidence of a payment session as one JSON object."""

    async def collect(context: Context) -> str:
        bundle: Any = await evidence_of(context, SessionId(session_id), EVERY_SESSION)
        return dump_json(bundle)

    try:
        typer.echo(with_context(load_settings(), collect))
    except SessionUnknown:
        fail(f"There is no payment session {session_id!r}; `tapwatt sessions` lists them.")


@evidence_app.command("verify")
def evidence_verify(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="As `session evidence` printed it.")
    ],
    webhook_secret_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Check the deliveries' signatures with it, too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a bundle's hashes and its bill, without a database. Exits with 1 when something was changed."""
    try:
        bundle = load_json(file.read_bytes(), max_bytes=MAX_BUNDLE_BYTES)
    except BadJson as error:
        fail(f"{file} cannot be read: {error}.")
    found = problems(bundle)
    if webhook_secret_file is not None and not found:
        found = list(_unsigned(bundle, webhook_secret_file.read_text(encoding="utf-8").strip()))
    if as_json:
        typer.echo(json.dumps({"file": str(file), "problems": found}))
        raise SystemExit(ExitStatus.FAILED if found else ExitStatus.DONE)
    if found:
        fail("\n".join([f"{file} is NOT as it was made:", *(f"  {problem}" for problem in found)]))
    assert isinstance(bundle, dict)
    typer.echo(f"{file} is as it was made. Seal: {bundle['seal']}")


def _unsigned(bundle: Any, secret: str) -> Iterator[str]:
    """Names the deliveries whose signature is not by this secret."""
    for number, each in enumerate(bundle["deliveries"], start=1):
        # One that was kept in part, for the persons in it, has no signature.
        if each["signature"] and not signature_is_valid(secret, each["body"].encode(), each["signature"]):
            yield f"deliveries: the signature of number {number} is not by this secret"
