"""The page docs/runbook.md: a section for each alert rule of Prometheus, alert code and attention code."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import yaml  # type: ignore[import-untyped]

from app.domain.alerts.causes import ALERTS, AlertCode
from app.domain.session.attention import CODES, AttentionCode, CodeRow
from tests.postgres import ROOT

RULES_FILE = ROOT / "deploy" / "prometheus" / "alerts.yml"
SESSION = "`tapwatt session show ps_...`. Console: /console/sessions/ps_..., "
OPERATOR = "`tapwatt operator check op_...`. Console: /console/health, "

_S = AttentionCode
LOOK: Mapping[AttentionCode, str] = {
    _S.START_UNKNOWN: SESSION + "calls and answers of the start",
    _S.FOREIGN_CHARGE: SESSION + "the charge's id; search it to find the other session",
    _S.DUPLICATE_CHARGE: SESSION + "both charges' ids",
    _S.STOP_UNCONFIRMED: SESSION + "stops and what Monta answered; /console/health, stops not confirmed",
    _S.DUPLICATE_CHARGE_RUNS: SESSION + "stops of the duplicate and what Monta answered",
    _S.CHARGE_LOST: SESSION + "the last reading and the hold's expiry",
    _S.NOT_COMPLETED: SESSION + "the last record and the hold's expiry",
    _S.OTHER_CURRENCY: SESSION + "currency of the hold and of the record; `tapwatt operator check op_...`",
    _S.IMPOSSIBLE_READING: SESSION + "the reading's payload; /console/equipment, the price",
    _S.FINAL_RECORD_HELD: SESSION + "the final record, and why it is held",
    _S.HOLD_EXPIRING: SESSION + "phase and holds; /console/money, holds that expire",
    _S.SETTLED_UNFINISHED: SESSION + "what the settlement rests on",
    _S.RAN_ON: SESSION + "stops and what Monta answered; /console/health, stops not confirmed",
    _S.SETTLED_LATE: SESSION + "the holds' expiry and the terminal's reports",
    _S.NEGATIVE_PRICE: SESSION + "the final record; `tapwatt reconcile --date yesterday`",
    _S.PRICE_ABOVE_TARIFF: SESSION + "the final record and the tariff's price; /console/money, differences",
    _S.SHORTFALL: SESSION + "when the stop was decided, sent and confirmed; /console/money, differences",
    _S.RECORD_CHANGED: SESSION + "both records; `tapwatt reconcile --date yesterday`",
    _S.RECORD_GONE: SESSION + "the record that it was settled by",
    _S.CAPTURE_FAILED: SESSION + "settlement: refused attempts, and when the next one is due",
    _S.CAPTURE_DIFFERS: SESSION + "settlement and reports; `tapwatt reconcile --date today`",
    _S.REPORTED_LATE: SESSION + "the report's time and the hold's expiry",
    _S.CAPTURE_OVERDUE: "`tapwatt terminal list`. Console: /console/money, captures overdue; /console/equipment",
    _S.SEAL_DOES_NOT_FIT: SESSION
    + "the journal; `tapwatt session evidence ps_...`, `tapwatt evidence verify`",
}

_A = AlertCode
LOOK_AT_ACCOUNT: Mapping[AlertCode, str] = {
    _A.CREDENTIAL_REFUSED: OPERATOR + "the operator's access problem",
    _A.STOPS_LATE: "`tapwatt doctor`. Console: /console/health, watchers and stops not confirmed",
    _A.WEBHOOK_SILENT: OPERATOR + "the operator's last webhook",
    _A.WEBHOOK_NOT_SET: OPERATOR + "the operator's webhook problem",
    _A.QUOTA_SPENT: OPERATOR + "the operator's quota",
    _A.CHARGES_WITHOUT_SESSION: "`tapwatt orphans`. Console: /console/health, open alerts",
    _A.RECONCILIATION_FAILS: OPERATOR + "when it was last compared, and the problem",
    _A.SYNC_FAILS: OPERATOR + "the operator's sync problem",
    _A.SETUP_DIFFERS: OPERATOR + "the operator's setup problem; /console/equipment",
    _A.ENDPOINT_FAILS: "`tapwatt endpoint list`. Console: /console/health, open alerts",
    _A.TERMINAL_OFFLINE: "`tapwatt terminal list`, `tapwatt outages`. Console: /console/equipment, terminals",
    _A.CLOCK_WRONG: "`tapwatt doctor`, and `timedatectl` on the machine. Console: /console/health, watchers",
}


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Prometheus' alert rules, in the order of the file."""
    given = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))
    return tuple(rule for group in given["groups"] for rule in group["rules"])


def words(text: str) -> str:
    """An annotation without Prometheus' templates: `{{ $labels.operator }}` becomes `operator`."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"`\1`", text)


def section(name: str, severity: str, parts: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from ("", f"### {name}", "", f"- Severity: {severity}")
    yield from (f"- {what}: {text}" for what, text in parts)


def section_of_code(code: str, row: CodeRow, look: str) -> Iterator[str]:
    parts = (("Meaning", row.meaning), ("Look", f"{look}."), ("Do", row.action), ("Closes", f"{row.closes}."))
    return section(code, row.severity, parts)


def section_of_rule(rule: Mapping[str, Any]) -> Iterator[str]:
    said = {name: words(text) for name, text in rule["annotations"].items()}
    waits = f", for {rule['for']}" if "for" in rule else ""
    parts = (
        ("Meaning", f"{said['summary']} {said['meaning']}"),
        ("Fires", f"`{rule['expr']}`{waits}"),
        ("Look", said["look"]),
        ("Do", said["action"]),
    )
    return section(rule["alert"], rule["labels"]["severity"], parts)


def index(entries: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    yield from ("", "| name | severity | what is wrong |", "|---|---|---|")
    yield from (f"| [{name}](#{name.lower()}) | {severity} | {what} |" for name, severity, what in entries)


def page(command: str) -> Iterator[str]:
    """The runbook: an index of each kind, then its sections."""
    yield from ("# Runbook", "")
    yield "What to do about each alert. Generated from `deploy/prometheus/alerts.yml`,"
    yield f"`app/domain/alerts/causes.py` and `app/domain/session/attention.py` by {command}."
    yield ""
    yield "Prometheus watches the processes; Tapwatt itself reports accounts and sessions ([alerts.md](alerts.md))."
    yield "`tapwatt doctor` and `tapwatt attention` show all of it at once, critical items first; `/console/...` is a"
    yield "page of [the console](console.md). An item of a session is acknowledged with"
    yield "`tapwatt session acknowledge ps_... CODE`."
    yield from ("", "## Alert rules of Prometheus")
    yield from index((r["alert"], r["labels"]["severity"], r["annotations"]["summary"]) for r in rules())
    for rule in rules():
        yield from section_of_rule(rule)
    yield from ("", "## Alerts of accounts and of the installation")
    yield from index((code, row.severity, row.meaning) for code, row in ALERTS.items())
    for account_code, row in ALERTS.items():
        yield from section_of_code(account_code, row, LOOK_AT_ACCOUNT[account_code])
    yield from ("", "## Attention items of sessions")
    yield from index((code, row.severity, row.meaning) for code, row in CODES.items())
    for code, row in CODES.items():
        yield from section_of_code(code, row, LOOK[code])
