"""app/console: faults put into the data are said on the pages, first and in plain words, with what to do."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from app.domain.charging.charge import ChargeReport, ChargeState, merge
from app.domain.session.payment_session import Status, Stop, StopReason
from app.domain.units.ids import ChargeId
from tests.api.orphan_charges import lose
from tests.api.service import Json, Service, open_service, wait
from tests.console.accessibility import check
from tests.console.browser import Browser, opened
from tests.postgres import run_as_owner

pytestmark = pytest.mark.anyio

PASSED = timedelta(minutes=20)
"""Between the faults and the look at the pages: less than a person's session lasts."""


@dataclass(frozen=True)
class Site:
    """Where faults are planted: one session a fault."""

    service: Service
    database_url: str
    sessions: Mapping[str, Json]

    async def sql(self, statement: str, **given: Any) -> None:
        async with self.service.context.database.transaction() as connection:
            await connection.execute(text(statement), given)

    async def record(self, session: str, **fields: Any) -> None:
        """Gives a session the record of a completed charge."""
        now = self.service.context.clock.now()
        values: dict[str, Any] = {"energy_wh": 2500, "price": Decimal("7.00"), "currency": "EUR"} | fields
        report = ChargeReport(
            id=ChargeId(f"c-{session}"), state=ChargeState.COMPLETED, seen_at=now, updated_at=now, **values
        )
        await self.service.change(session, charge=merge(None, report, by_rest=True))

    async def captured(self, session: str, *amounts: int) -> None:
        """Writes captures behind the service's back."""
        for number, amount in enumerate(amounts):
            await self.sql(
                "INSERT INTO captures (session_id, operator_id, outcome, amount_minor, reference, reported_at)"
                " SELECT id, operator_id, 'captured', CAST(:amount AS bigint), :reference, CAST(:now AS timestamptz)"
                " FROM payment_sessions WHERE id = :id",
                amount=amount,
                reference=f"P-{number}",
                now=self.service.context.clock.now(),
                id=session,
            )


Plant = Callable[[Site, str], Awaitable[None]]


async def overdue(site: Site, session: str) -> None:
    settled = (await site.service.settle(session, 700)).settlement
    assert settled is not None
    await site.service.change(session, settlement=replace(settled, overdue_since=settled.decided_at))


async def release_after_energy(site: Site, session: str) -> None:
    await site.service.settle(session, 0)
    await site.record(session, energy_wh=9000)


async def captured_too_much(site: Site, session: str) -> None:
    await site.service.settle(session, 700)
    await site.captured(session, 4900)


async def captured_twice(site: Site, session: str) -> None:
    await site.service.settle(session, 700)
    await site.captured(session, 700, 700)


async def other_currency(site: Site, session: str) -> None:
    await site.service.settle(session, 700)
    await site.record(session, currency="SEK")


async def runs_on(site: Site, session: str) -> None:
    stop = Stop(reason=StopReason.LIMIT_REACHED, decided_at=site.service.context.clock.now(), attempts=4)
    await site.service.change(session, status=Status.STOPPING, stop=stop)


async def broken_journal(site: Site, session: str) -> None:
    await run_as_owner(
        site.database_url,
        "ALTER TABLE journal DISABLE TRIGGER append_only",
        f"UPDATE journal SET source = 'nobody' WHERE session_id = '{session}'",
        "ALTER TABLE journal ENABLE TRIGGER append_only",
    )


async def stuck(site: Site, session: str) -> None:
    due = site.service.context.clock.now()
    await site.sql(
        "UPDATE payment_sessions SET due_at = :due, lease_owner = 'watcher-9', lease_until = :due WHERE id = :id",
        due=due,
        id=session,
    )


async def terminal_offline(site: Site, _: str) -> None:
    answer = await site.service.call("PUT", "/v1/terminal/status", {"state": "online"})
    assert answer.status_code == 200
    await site.sql(
        "UPDATE terminals SET reported_at = :at, first_reported_at = :at WHERE reported_at IS NOT NULL",
        at=site.service.context.clock.now() - timedelta(hours=2),
    )


async def orphan(site: Site, _: str) -> None:
    await lose(site.service, "90001")


async def wrong_signature(site: Site, _: str) -> None:
    assert (await site.service.webhook(b"{}", signature="sha1=00")).status_code == 401


async def wrong_clock(site: Site, _: str) -> None:
    now = site.service.context.clock.now() + PASSED
    await site.sql(
        "INSERT INTO watchers (id, started_at, seen_at, clock_ahead_ms) VALUES ('watcher-7', :now, :now, 5000)",
        now=now,
    )


async def quota_spent(site: Site, _: str) -> None:
    now = site.service.context.clock.now()
    await site.sql(
        "INSERT INTO monta_budgets (operator_id, quota, window_s, remaining, window_ends_at, blocked_until)"
        " VALUES (:operator, 1000, 600, 0, :until, :until)",
        operator=site.service.one.operator.operator_id,
        until=now + timedelta(hours=1),
    )


async def credential_refused(site: Site, _: str) -> None:
    await site.sql(
        "UPDATE operators SET access_problem = '401 from Monta', access_refused_since = created_at"
    )


async def nothing(site: Site, session: str) -> None:
    await site.service.charging(session, "77")


S = "/console/sessions/{id}"
HEALTH, MONEY, LIVE, EQUIPMENT = "/console/health", "/console/money", "/console", "/console/equipment"
SEARCH = "/console/search"

FAULTS: dict[str, tuple[Plant, dict[str, tuple[str, ...]]]] = {
    "a capture is overdue": (
        overdue,
        {
            LIVE: ("Captures overdue 1",),
            S: ("overdue since",),
            MONEY: ("Captures overdue Session", "{ref} completed"),
            "/console/search?settlement_status=due": ("{ref}",),
        },
    ),
    "a hold was released after energy had flowed": (
        release_after_energy,
        {
            MONEY: ("{ref} lane release after energy The hold was released",),
            SEARCH: ("{ref} release after energy",),
            S: ("Release after energy", "bill the driver outside Tapwatt"),
        },
    ),
    "more was captured than settled": (
        captured_too_much,
        {
            MONEY: ("{ref} lane capture differs",),
            SEARCH: ("{ref} capture differs",),
            S: ("Capture differs", "42.00 EUR: the driver paid it", "refund what was captured too much"),
        },
    ),
    "a capture was made twice": (
        captured_twice,
        {
            MONEY: ("{ref} lane several captures",),
            SEARCH: ("{ref} several captures",),
            S: ("Several captures", "7.00 EUR: the driver paid it", "Refund the surplus"),
        },
    ),
    "Monta charged in another currency": (
        other_currency,
        {
            MONEY: ("{ref} lane currency",),
            SEARCH: ("{ref} currency",),
            S: ("Monta charged 7.00 SEK, the hold is in EUR", "price group"),
        },
    ),
    "a stop is not confirmed": (
        runs_on,
        {
            LIVE: ("Stops not confirmed 1",),
            HEALTH: ("Stops not confirmed after 1 min Stop it in Monta's portal", "{ref}"),
            S: ("The stop is not confirmed", "20 min ago, 4 calls", "Stop it in Monta's portal"),
        },
    ),
    "a line of a journal was changed": (
        broken_journal,
        {S: ("The journal was changed", "line 1 or its hash was changed", "Trust no line of it")},
    ),
    "a session is stuck with a lease that has ended": (
        stuck,
        {
            LIVE: ("Oldest due work 20 min ago",),
            HEALTH: ("{ref} 108 authorized 20 min ago watcher watcher-9 left it", "Start another watcher"),
            S: ("Work is overdue", "its lease ended 20 min ago", "start another one"),
        },
    ),
    "a hold is about to expire": (
        nothing,
        {
            MONEY: ("Holds that expire within 24 hours Session",),
            S: ("The hold expires soon", "Settle or close the session by hand now"),
        },
    ),
    "a terminal has been silent for two hours": (
        terminal_offline,
        {
            LIVE: ("Out of service 1",),
            EQUIPMENT: ("terminal lane", "offline", "lasts 2 h 20 min", "restart the terminal"),
        },
    ),
    "a charge of Monta's has no session": (
        orphan,
        {
            HEALTH: ("charges without session", "90001 completed ours", "tapwatt orphan close"),
            "/console/search?q=90001": ("Charges without a session", "K7QM-4TXP", "tapwatt orphan close"),
        },
    ),
    "webhooks are refused": (
        wrong_signature,
        {
            HEALTH: (
                "webhook silent Charges run, and Monta has delivered nothing for 15 minutes",
                "Webhooks refused 1 (bad signature 1)",
                "compare the webhook's secret",
            )
        },
    ),
    "a watcher's clock is wrong": (
        wrong_clock,
        {HEALTH: ("watcher-7", "wrong 5 s ahead of the database's", "keeps time by NTP")},
    ),
    "the quota at Monta is spent": (
        quota_spent,
        {HEALTH: ("quota spent until", "ask Monta for a larger quota", "0 of 1000")},
    ),
    "a credential is refused": (
        credential_refused,
        {HEALTH: ("credential refused 401 from Monta critical Make a new credential",)},
    ),
}


async def plant_all(service: Service, database_url: str) -> Site:
    made = {}
    for number, name in enumerate(FAULTS):
        hold = {"expires_at": "2026-11-22T11:30:00Z"} if name == "a hold is about to expire" else {}
        point = str(101 + number)
        if number < 10:
            made[name] = await service.authorize(point, f"A-{number}", authorization=hold)
    site = Site(service, database_url, made)
    for name, (plant, _) in FAULTS.items():
        await plant(site, made.get(name, {}).get("id", ""))
    await wait(service, PASSED)
    return site


async def shown(browser: Browser, path: str) -> str:
    page = await browser.get(path)
    check(page)
    return page.one("main").text


async def test_each_fault_is_said_where_a_person_looks_with_what_to_do(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        service.apps[0].state.process_metrics = service.context.telemetry.text  # type: ignore[attr-defined]
        try:
            site = await plant_all(service, database_url)
            service.apps[0].state.context = replace(service.context, clock_is_virtual=False)
            await browser.sign_in(service.all_ops.api_key)
            missing = []
            for name, (_, pages) in FAULTS.items():
                session = site.sessions.get(name, {"id": "", "display_reference": ""})
                for path, words in pages.items():
                    said = await shown(browser, path.format(id=session["id"]))
                    wanted = [each.format(ref=session["display_reference"]) for each in words]
                    missing += [
                        f"{name}: {path} does not say {each!r}" for each in wanted if each not in said
                    ]
            assert not missing, "\n".join(missing)
        finally:
            service.apps[0].state.process_metrics = lambda: ""


async def test_where_nothing_is_wrong_nothing_is_said(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await service.charging(session["id"], "77")
        await browser.sign_in(service.all_ops.api_key)
        page = await browser.get(f"/console/sessions/{session['id']}")
        assert not page.all("h2") or not [
            n for n in page.all("div") if "notice" in n.attributes.get("class", "")
        ]
        said = await shown(browser, HEALTH)
        for quiet in (
            "No alert is open.",
            "Every stop is confirmed.",
            "Nothing is late.",
            "has its session.",
        ):
            assert quiet in said
        assert "Captures overdue 0 Stops not confirmed 0 Out of service 0" in await shown(browser, LIVE)
