"""Command that examines an installation and says what to do: `tapwatt doctor`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from textwrap import fill
from urllib.parse import urlsplit

import typer

from app.cli.common import AsJson, ExitStatus, say, style, with_context
from app.cli.output.tables import width
from app.domain.alerts import examination
from app.domain.alerts.examination import ADVICE, Finding, Verdict
from app.domain.units.control_chars import visible
from app.domain.units.egress import Egress
from app.flows.admin import queries
from app.flows.admin.check_setup import compare_operator
from app.flows.admin.stored_state import stored_state
from app.flows.context import Context
from app.flows.operator.sync import webhook_difference
from app.monta.egress import CertificateProblem, certificate_expires_at
from app.settings import Settings, load_settings
from app.store.db.connect import unverified_hosts

app = typer.Typer()

EXIT = {
    Verdict.OK: ExitStatus.DONE,
    Verdict.WARNING: ExitStatus.DONE,
    Verdict.WRONG: ExitStatus.FOUND,
}
"""Exit status by the worst that was found."""
RENEW = "See that it is renewed in time: without it calls and webhooks are refused."
REACH = "See that the address is reached from here, and that its certificate is valid for it and trusted."
MARKS = {
    Verdict.OK: ("ok     ", "green"),
    Verdict.WARNING: ("warning", "yellow"),
    Verdict.WRONG: ("WRONG  ", "red"),
}


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Examine the installation and its accounts at Monta. Database, clock, watchers, keys, certificates, quota and
    webhooks; exits with 3 when something is wrong."""
    settings = load_settings()
    found = with_context(settings, lambda context: _examine(context, settings))
    if as_json:
        say(json.dumps([asdict(f) for f in found]))
    else:
        for finding in found:
            _print(finding)
    raise SystemExit(EXIT[examination.worst(found)])


async def _examine(context: Context, settings: Settings) -> Sequence[Finding]:
    """Changes nothing; Monta is asked for each operator's account."""
    now, ready, state = context.clock.now(), await queries.readiness(context), await stored_state(context)
    found = examination.of_process({name: getattr(ready, name) for name in ADVICE})
    found.append(examination.of_isolation(bound=state.is_bound))
    found.append(examination.of_connections(*state.connections))
    found += _transport(settings)
    found += examination.of_watchers(state.clocks_ahead)
    for url in state.monta_urls:
        found += await _certificate(
            f"certificate of Monta at {urlsplit(url).hostname}", url, settings.egress, now
        )
    if settings.public_url is not None:
        # Where the service itself is reached may be a private address.
        anywhere = Egress(anywhere=True)
        found += await _certificate("certificate of TAPWATT_PUBLIC_URL", settings.public_url, anywhere, now)
    for account in state.accounts:
        compared = await compare_operator(context, account.id)
        found += examination.of_account(account, compared.warnings, now)
        found += examination.of_webhook(account.id, await webhook_difference(context, account.id))
        if account.id in state.quota_left:
            found.append(examination.of_quota(account.id, *state.quota_left[account.id]))
    for key in state.keys:
        found += examination.of_key(key.id, key.name, key.expires_at, now)
    return found


def _transport(settings: Settings) -> list[Finding]:
    """Examines each database's URL; the embedded database has none."""
    urls = {
        "TAPWATT_DATABASE_URL": settings.database_url,
        "TAPWATT_OWNER_DATABASE_URL": settings.owner_database_url,
        "TAPWATT_LISTEN_DATABASE_URL": settings.listen_database_url,
    }
    return [
        examination.of_transport(name, unverified_hosts(url.get_secret_value()))
        for name, url in urls.items()
        if url is not None
    ]


async def _certificate(about: str, url: str, egress: Egress, now: datetime) -> list[Finding]:
    """Examines an address's certificate by a connection; nothing for plain http."""
    try:
        expires_at = await certificate_expires_at(url, egress)
    except CertificateProblem as error:
        return [Finding(about=about, verdict=Verdict.WRONG, found=str(error), what_to_do=REACH)]
    return [] if expires_at is None else [examination.of_certificate(about, expires_at, RENEW, now)]


def _print(finding: Finding) -> None:
    mark, colour = MARKS[finding.verdict]
    shown = fill(visible(f"{mark}  {finding.about}: {finding.found}"), width(), subsequent_indent=" " * 9)
    typer.echo(style(mark, colour) + shown[len(mark) :])
    if finding.what_to_do:
        indent = " " * 9
        say(fill(finding.what_to_do, width(), initial_indent=indent, subsequent_indent=indent))
