"""Commands about evidence: write a session's bundle, verify one, print the public key. Verifying needs no database."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.common import AsJson, ExitStatus, fail, say, with_context
from app.cli.sessions import fail_unknown, session_app
from app.domain.evidence.signatures import keys_in_pem, pem_of
from app.domain.evidence.verify import Origin, origin_of, problems
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
        say(with_context(load_settings(), collect))
    except SessionUnknown:
        fail_unknown(session_id)


@evidence_app.command("verify")
def evidence_verify(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="As `session evidence` printed it.")
    ],
    public_key: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="The key that it must be signed with, as `evidence public-key` printed it. Repeatable.",
        ),
    ] = None,
    webhook_secret_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Check the deliveries' signatures with it, too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle's signature, seal, hashes and bill, without a database. Exits with 1 when anything was changed."""
    trusted = None if not public_key else _public_keys(public_key)
    try:
        bundle = load_json(file.read_bytes(), max_bytes=MAX_BUNDLE_BYTES)
    except BadJson as error:
        fail(f"{file} cannot be read: {error}.")
    found = problems(bundle, trusted)
    if webhook_secret_file is not None and not found:
        found = list(_unsigned(bundle, webhook_secret_file.read_text(encoding="utf-8").strip()))
    origin = None if found or not isinstance(bundle, dict) else origin_of(bundle)
    if as_json:
        facts = {} if origin is None else asdict(origin) | {"key_is_trusted": trusted is not None}
        say(json.dumps({"file": str(file), "problems": found} | facts))
        raise SystemExit(ExitStatus.FAILED if found else ExitStatus.DONE)
    if origin is None:
        fail("\n".join([f"{file} is NOT as it was made:", *(f"  {problem}" for problem in found)]))
    assert isinstance(bundle, dict)
    say(f"{file} is as it was made. Seal: {bundle['seal']}")
    say(_in_words(origin, is_trusted=trusted is not None))


def _public_keys(files: Sequence[Path]) -> dict[str, str]:
    known: dict[str, str] = {}
    for each in files:
        try:
            found = keys_in_pem(each.read_text(encoding="utf-8"))
        except ValueError as error:
            fail(f"{each} {error if str(error).startswith(('is', 'holds')) else 'is no text'}.")
        if not found:
            fail(f"{each} holds no public key in PEM: save what `tapwatt evidence public-key` prints.")
        known |= found
    return known


def _in_words(origin: Origin, *, is_trusted: bool) -> str:
    whose = (
        "one of the given keys, or one that they vouch for"
        if is_trusted
        else "compare it with the key that you were given, or let this command do so: --public-key FILE"
    )
    sealed = (
        "The session is not settled: its journal has no seal yet."
        if origin.sealed_by is None
        else f"Session and journal ({origin.lines} lines) were sealed at {origin.sealed_at} with the key"
        f" {origin.sealed_by}."
    )
    return f"Signed with the key {origin.signed_by}: {whose}.\n{sealed}"


@evidence_app.command("public-key")
def evidence_public_key(as_json: AsJson = False) -> None:
    """Print the public key that evidence is signed with, in PEM, for whoever verifies it."""

    async def key_of(context: Context) -> tuple[str, str]:
        return context.sealer.key.id, context.sealer.key.public

    key_id, public = with_context(load_settings(), key_of)
    if as_json:
        say(json.dumps({"key_id": key_id, "public_key": pem_of(public)}))
        return
    typer.echo(f"Evidence is signed with the key {key_id}:", err=True)
    typer.echo(pem_of(public), nl=False)


def _unsigned(bundle: Any, secret: str) -> Iterator[str]:
    """Names the deliveries whose signature is not by this secret."""
    for number, each in enumerate(bundle["deliveries"], start=1):
        # One that was kept in part, for the persons in it, has no signature.
        if each["signature"] and not signature_is_valid(secret, each["body"].encode(), each["signature"]):
            yield f"deliveries: the signature of number {number} is not by this secret"
