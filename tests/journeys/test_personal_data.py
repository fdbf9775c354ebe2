"""app/flows/erasure.py: cards and metadata go, on request or by age; the money's record and its evidence stay."""

import json
import re
import zlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
import structlog

from app.cli.sessions import CALLER
from app.domain.alerts.message import Message
from app.domain.evidence.verify import problems
from app.domain.units.ids import OperatorId, SessionId
from app.flows.admin.personal_data import StillNeeded, erase_card, export_card
from app.flows.context import SessionUnknown
from app.flows.erasure import erase_old
from app.flows.operator.send_alerts import send_alerts
from app.store.sessions.session_filter import EVERY_SESSION, SessionFilter
from app.store.tables import metadata
from app.strict_json import dump_json, load_json
from app.telemetry import configure_logging
from tests.api.service import charge_entry, delivery, sign
from tests.console.browser import Browser, opened
from tests.journeys.checks import ended
from tests.journeys.rig import Json, Rig, energy_tariff, open_rig
from tests.postgres import as_superuser

pytestmark = pytest.mark.anyio

CARD = {
    "brand": "visa",
    "last4": "7391",
    "fingerprint": "canary-fingerprint",
    "account_reference": "canary-par",
}
CANARIES = ("canary", "7391", "visa")
LAST4 = re.compile(r"(?<![\w.])7391(?!\w)")
"""Not within a hash or another number, where four digits come by chance."""


def found_in(text: str, *canaries: str) -> list[str]:
    """The canaries that a text has."""
    return [c for c in canaries if (LAST4.search(text) if c == "7391" else c in text)]


ANOTHER = OperatorId("op_another")
OF_ANOTHER = SessionFilter(operator_id=ANOTHER)
WEBHOOKS = {"deliveries", "inbox"}
"""Monta's own words; they go by their age only."""


async def whole_database(rig: Rig, *, with_webhooks: bool = True) -> str:
    """Everything that is stored, with deliveries unpacked."""
    connection = await asyncpg.connect(as_superuser(rig.database_url))
    try:
        tables = metadata.tables if with_webhooks else metadata.tables.keys() - WEBHOOKS
        rows = [await connection.fetch(f"SELECT * FROM {table}") for table in tables]
        if not with_webhooks:
            return str(rows)
        bodies = [r["body"] for r in await connection.fetch("SELECT body FROM deliveries")]
        return str(rows) + "".join(zlib.decompress(body).decode() for body in bodies)
    finally:
        await connection.close()


async def paid(rig: Rig, reference: str = "A-1", *, posts: int = 1, settled: bool = True) -> Json:
    await rig.set_tariff(energy_tariff("0.79"))
    held = {"reference": reference, "card": CARD}
    session = await rig.authorize(106, 1000, authorization=held, metadata={"plate": "canary-plate"})
    settlement = (await ended(rig, session, posts=posts))["settlement"]
    if settled:
        report = {
            "outcome": "captured",
            "amount": settlement["amount_to_capture"],
            "reference": f"p-{reference}",
        }
        path = f"/v1/payment-sessions/{session['id']}/captures"
        assert (await rig.call("POST", path, body=report)).status_code == 200
    return session


async def evidence(rig: Rig, session_id: str) -> Any:
    path = f"/v1/ops/payment-sessions/{session_id}/evidence"
    answer = await rig.call("GET", path, key=rig.ops.api_key)
    return load_json(answer.content, max_bytes=10**8)


async def test_an_erased_card_is_nowhere_and_the_evidence_is_whole(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await paid(rig)
        before = await whole_database(rig)
        assert found_in(before, *CANARIES) == [*CANARIES]
        with pytest.raises(SessionUnknown):
            await erase_card(rig.context, SessionId(session["id"]), OF_ANOTHER, by=CALLER)
        shown = await erase_card(rig.context, SessionId(session["id"]), EVERY_SESSION, by=CALLER)
        assert shown.settlement is not None
        after = await whole_database(rig, with_webhooks=False)
        assert found_in(after, *CANARIES) == []
        assert "canary" not in await whole_database(rig), (
            "brand and last four digits are in Monta's webhooks, too"
        )
        bundle = await evidence(rig, session["id"])
        assert problems(bundle) == []
        assert set(bundle["card"].values()) == {None}
        assert bundle["journal"][-1]["kind"] == "person_erased"
        again = await erase_card(rig.context, SessionId(session["id"]), EVERY_SESSION, by=CALLER)
        assert again.journal == shown.journal
        assert (await rig.ops_session(session["id"]))["settlement"]["status"] == "confirmed"


async def test_a_card_that_is_still_needed_is_not_erased(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 1000, authorization={"card": CARD})
        session_id = SessionId(session["id"])
        with pytest.raises(StillNeeded, match="has not ended"):
            await erase_card(rig.context, session_id, EVERY_SESSION, by=CALLER)
        await ended(rig, session)
        with pytest.raises(StillNeeded, match="not reported"):
            await erase_card(rig.context, session_id, EVERY_SESSION, by=CALLER)
        with pytest.raises(SessionUnknown):
            await erase_card(rig.context, SessionId("ps_none"), EVERY_SESSION, by=CALLER)
        assert "canary-fingerprint" in await whole_database(rig)


async def test_old_sessions_lose_their_cards_and_young_ones_keep_them(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        old = await paid(rig, settled=False)
        await rig.clock.advance(timedelta(days=40).total_seconds())
        young = await paid(rig, "A-2", posts=2, settled=False)
        operator_id = rig.operator.operator_id
        await erase_old(replace(rig.context, card_days=50), operator_id)
        assert (await evidence(rig, old["id"]))["card"] == CARD
        await erase_old(replace(rig.context, card_days=39), ANOTHER)
        assert (await evidence(rig, old["id"]))["card"] == CARD
        await erase_old(replace(rig.context, card_days=39), operator_id)
        await erase_old(replace(rig.context, card_days=39), operator_id)
        gone, kept = await evidence(rig, old["id"]), await evidence(rig, young["id"])
        assert (set(gone["card"].values()), gone["metadata"]) == ({None}, {})
        assert (kept["card"], kept["metadata"]) == (CARD, {"plate": "canary-plate"})
        assert (problems(gone), problems(kept)) == ([], [])
        kinds = [line["kind"] for line in gone["journal"]]
        assert kinds.count("person_erased") == 1


async def test_one_cards_sessions_are_exported_and_no_others(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        session = await paid(rig)
        other = await rig.authorize(907, 1000, authorization={"card": {"fingerprint": "another"}})
        for token in ("canary-fingerprint", "canary-par"):
            found = json.loads(dump_json(await export_card(rig.context, token, None)))  # type: ignore[arg-type]
            (exported,) = found["sessions"]
            assert exported["session"]["id"] == session["id"]
            assert exported["settlement"]["to_capture_minor"] > 0
            assert exported["card"]["last4"] == "7391"
            assert "deliveries" not in exported
            assert other["id"] not in str(found)
        nothing: Any = await export_card(rig.context, "canary-par", ANOTHER)
        own: Any = await export_card(rig.context, "canary-par", rig.operator.operator_id)
        assert (len(nothing["sessions"]), len(own["sessions"])) == (0, 1)
        assert (await export_card(rig.context, "nobody", None))["sessions"] == []


async def test_of_entries_about_persons_only_that_they_came_is_kept(database_url: str) -> None:
    """An entry about a user, with name and e-mail, was stored whole."""
    async with open_rig(database_url) as rig:
        user = {
            "entityType": "user",
            "entityId": "815",
            "eventType": "updated",
            "eventTime": "2026-11-22T10:00:01Z",
            "payload": {"id": 815, "name": "canary", "email": "canary@example.com"},
        }
        of_user: Json = {
            "user": {"id": 1, "displayName": "canary"},
            "chargeAuth": {"type": "rfid", "id": "canary"},
        }
        for body in (delivery(user), delivery(user, charge_entry(77, **of_user))):
            headers = {"X-Monta-Signature": sign(rig.operator.webhook_secret, body)}
            answer = await rig.http.post(rig.operator.webhook_path, content=body, headers=headers)
            assert answer.status_code == 200
        kept = await whole_database(rig)
        assert "815" in kept
        assert "canary" not in kept


PAN = "4000 0566 5566 5556"
PERSON: Json = {"user": {"id": 1, "displayName": "canary-user"}, "driverEmail": "canary@example.com"}


class Outlet:
    """Where alerts arrive."""

    name = "outlet"

    def __init__(self) -> None:
        self.got: list[str] = []

    async def send(self, message: Message, now: datetime) -> None:
        self.got.append(repr(message))


async def sent_by_monta(rig: Rig, *entries: Json) -> None:
    body = delivery(*entries)
    headers = {"X-Monta-Signature": sign(rig.operator.webhook_secret, body)}
    answer = await rig.http.post(rig.operator.webhook_path, content=body, headers=headers)
    assert answer.status_code == 200


async def refused_with_a_card_number(rig: Rig) -> None:
    """A number in each place that a terminal can write to."""
    for place in ({"metadata": {"note": PAN}}, {"authorization": {"card": {"fingerprint": PAN}}}, {PAN: 1}):
        answer = await rig.call("POST", "/v1/payment-sessions", body=rig.payment(907, **place))
        assert answer.status_code == 422, place
    headers = {"Idempotency-Key": PAN}
    answer = await rig.call("POST", "/v1/payment-sessions", body=rig.payment(907), headers=headers)
    assert answer.status_code == 422


async def all_pages(rig: Rig, browser: Browser, session_id: str) -> str:
    paths = ["/console", "/console/search", "/console/money", "/console/equipment", "/console/health"]
    paths += [f"/console/sessions/{session_id}", f"/console/search?q={session_id}"]
    pages = [(await browser.http.get(path)).text for path in paths]
    ops = f"/v1/ops/payment-sessions/{session_id}"
    paths = [ops, f"{ops}/journal", f"{ops}/captures", f"{ops}/evidence", "/v1/ops/summary"]
    pages += [(await rig.call("GET", path, key=rig.ops.api_key)).text for path in paths]
    metrics = await rig.call("GET", "/metrics", key=rig.ops.api_key)
    assert metrics.status_code == 200
    return "".join([*pages, metrics.text])


async def test_a_persons_canaries_are_in_no_log_metric_or_alert_and_nowhere_once_erased_and_old(
    database_url: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    configure_logging(level="debug", as_json=True)
    caplog.set_level("DEBUG")
    outlet = Outlet()
    try:
        async with open_rig(database_url) as rig, opened(rig.app) as browser:
            await browser.sign_in(rig.ops.api_key)
            session = await paid(rig)
            charge_id = (await rig.ops_session(session["id"]))["charge"]["id"]
            user = {"entityType": "user", "entityId": "815", "payload": PERSON}
            of_person = charge_entry(int(charge_id), "completed", **PERSON)
            await sent_by_monta(rig, of_person, user)
            running = (await rig.authorize(907, 2000))["id"]
            told = (await rig.until(running, "charging"))["charge"]
            reading = charge_entry(int(told["id"]), chargePointId=907, partnerExternalId=running, **PERSON)
            await sent_by_monta(rig, reading, user)
            await refused_with_a_card_number(rig)
            await send_alerts(rig.context, [outlet])
            assert found_in(await all_pages(rig, browser, session["id"]), "7391") == ["7391"]
            before = await whole_database(rig)
            assert "canary-user" not in before
            assert "canary@example.com" not in before
            assert PAN not in before

            await erase_card(rig.context, SessionId(session["id"]), EVERY_SESSION, by=CALLER)
            shown = await all_pages(rig, browser, session["id"])
            assert found_in(shown.partition('"deliveries"')[0], *CANARIES, PAN) == []
            await ended(rig, await rig.session(running), posts=2)
            await rig.clock.advance(timedelta(days=rig.context.delivery_days + 1).total_seconds())
            await rig.work()
            after = await whole_database(rig)
            assert found_in(after, *CANARIES, PAN) == []
            await send_alerts(rig.context, [outlet])
    finally:
        structlog.reset_defaults()
    captured = capsys.readouterr()
    said = captured.out + captured.err + caplog.text + "".join(outlet.got)
    assert "key_acts" in said or "signed_in" in said
    assert found_in(said, "canary-", "canary@", "7391", PAN, PAN.replace(" ", "")) == []
