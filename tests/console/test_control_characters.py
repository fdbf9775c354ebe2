"""app/domain/units/control_chars: whatever a terminal, Monta or an operator writes, no output obeys it.

Line breaks, NUL, escape sequences and what turns text round, in every stored text; then every page, CSV file and
command that shows any of it.
"""

import asyncio
import csv
import io
import json
import re
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from app.cli.common import READING, ExitStatus
from app.domain.session.attention import Attention
from app.domain.units.control_chars import CONTROLS
from tests.api.addresses import addresses
from tests.api.hostile_texts import write_everywhere
from tests.api.orphan_charges import lose
from tests.api.service import Json, Service, open_service
from tests.build_context import SECRET_KEY
from tests.commands import COMMANDS, invoke, settings_for
from tests.console.browser import Browser, opened

pytestmark = pytest.mark.anyio

SIGNS = "\r\nBcc: x@evil.test\r\n\x1b[2J\x7f\x85\x9b31m\u2028\u2029\u202e\u2066"
ATTACK = f"=cmd{SIGNS}end"
DAY, MONTH = "2026-11-22", "2026-11"
FILES = (
    f"/v1/ops/reconciliation?date={DAY}&format=csv",
    f"/v1/ops/charges?month={MONTH}&format=csv",
)
WITH: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("operator show",), ("{operator}",)),
    **dict.fromkeys(("terminal show", "terminal key list"), ("{terminal}",)),
    **dict.fromkeys(("session show", "session evidence"), ("{session}",)),
    **dict.fromkeys(
        ("operator list", "terminal list", "ops-key list", "sessions", "attention", "orphans"), ()
    ),
    "reconcile": ("--date", DAY),
    "charges": ("--month", MONTH),
    "outages": ("--month", MONTH, "--longer-than", "0"),
    "ops-key show": ("{key}",),
}
"""Commands that show what is stored, with what they need."""
OTHERS = {"operator check", "doctor", "evidence public-key", "endpoint list", "endpoint show"}
"""They call out, show a key, or endpoints, of which there are none here."""


def obeyed(shown: str) -> list[str]:
    """Control characters of the attack that an output has, beside its own ends of lines."""
    return [found for found in CONTROLS.findall(shown) if found not in "\n\t"]


async def prepare(service: Service) -> Json:
    """A session that runs and one that is settled, with the attack in every text of theirs and around them."""
    session = await service.authorize()
    settled = await service.authorize("102", "A-2")
    await service.charging(settled["id"], "78")
    await service.settle(settled["id"], 700)
    report = {"outcome": "captured", "amount": 600, "reference": "P-1"}
    await service.call("POST", f"/v1/payment-sessions/{settled['id']}/captures", report)
    await service.call("PUT", "/v1/terminal/status", {"state": "out_of_order", "message": "wet"})
    await lose(service, "9000000001")
    await write_everywhere(service, session["id"], ATTACK)
    before = await service.change(settled["id"], attention=(Attention(code="shortfall", detail=ATTACK),))
    held = replace(before.authorization, reference=ATTACK)
    await service.change(settled["id"], authorization=held, display_reference=ATTACK)
    return session


async def test_no_page_and_no_file_obeys_a_stored_text(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(open_service(database_url))
        browser = await stack.enter_async_context(opened(service.apps[0]))
        session = await prepare(service)
        await browser.sign_in(service.all_ops.api_key)
        await every_page(service, browser, session["id"])
        for path in FILES:
            answer = await service.call("GET", path, key=service.all_ops.api_key)
            assert answer.status_code == 200, answer.text
            check_file(path, answer.text)


async def every_page(service: Service, browser: Browser, session_id: str) -> None:
    seen = 0
    for method, path in addresses(service.apps[0]):
        if method != "GET" or not path.startswith("/console") or path.endswith("/stream"):
            continue
        query = {"/console/charges.csv": f"?month={MONTH}", "/console/money.csv": f"?date={DAY}"}.get(
            path, ""
        )
        answer = await browser.http.get(re.sub(r"\{[\w:]+\}", session_id, path) + query)
        assert answer.status_code in (200, 404), path
        if answer.headers["content-type"].startswith("text/csv"):
            check_file(path, answer.text)
            assert answer.headers["content-disposition"].isprintable()
        elif "javascript" not in answer.headers["content-type"]:
            assert not obeyed(answer.text), path
        seen += "\\u202e" in answer.text
    assert seen >= 6, "the attack was shown"


def check_file(path: str, content: str) -> None:
    rows = list(csv.reader(io.StringIO(content)))
    assert len(rows) > 1, path
    assert {len(row) for row in rows} == {len(rows[0])}, path
    for cell in (cell for row in rows for cell in row):
        assert not CONTROLS.search(cell), (path, cell)
        assert not cell.startswith("="), "no formula"


def test_every_command_that_shows_something_is_tried() -> None:
    showing = {name for name, command in COMMANDS.items() if name.split()[-1] in READING}
    assert showing == WITH.keys() | OTHERS


async def test_no_command_obeys_a_stored_text(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await prepare(service)
        ids = {"session": session["id"], "operator": service.one.operator.operator_id}
        ids |= {"terminal": service.one.terminal.id, "key": service.one.ops.id}

        settings = settings_for(database_url, TAPWATT_SECRET_KEY=SECRET_KEY, COLUMNS="200")

        def run() -> set[str]:
            showed = set()
            for name, needed in WITH.items():
                command = [*name.split(), *(word.format(**ids) for word in needed)]
                for form in ([], ["--json"]):
                    found = invoke([*command, *form], env=settings)
                    assert found.exit_code in (ExitStatus.DONE, ExitStatus.FOUND), found.output
                    assert not obeyed(found.output), (command, form)
                    if "\\u202e" in found.output:
                        showed.add(name)
                    if form:
                        json.loads(found.stdout)
            return showed

        showed = await asyncio.to_thread(run)
    assert showed >= {"operator show", "terminal list", "session show", "attention", "orphans", "charges"}
