"""app/demo: The demo's parts that need no process: bars, words, tariffs, signals and the closing sums."""

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.docs.example_objects import CONFIRMED, OPS
from app.api.models.sessions import CaptureOut, JournalOut, OpsSessionOut
from app.demo.audit import Account, MontaCharge
from app.demo.interrupts import DemoFailed, Interrupted, Interrupts
from app.demo.processes import Processes, base_environment
from app.demo.setup import settings_of_the_demo
from app.demo.stories import STORIES, Ending, Story
from app.demo.tariffs import GROUP_OF_POINT, ocpi_tariff
from app.demo.terminals import Bank
from app.demo.wording import in_words, money
from app.domain.session.payment_session import StopReason
from app.domain.session.states.journal import JournalKind
from app.domain.tariff import Period, PeriodKind, parse_tariff
from app.domain.tariff import price as price_of
from app.domain.units.money import Rounding, to_minor
from app.domain.units.text_bar import bar
from app.settings import Settings, settings_from
from app.simulator.charge_points import PRICE_GROUPS
from app.simulator.site.prices import Currency, PriceGroup, Usage, price

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
STORY = Story(
    title="stops in time",
    charge_point_id="101",
    amount_minor=5000,
    begins_after_s=0,
    ending=Ending(stop_reason=StopReason.DRIVER, least_stops=1, proof=(JournalKind.START_UNKNOWN,)),
)

UNCONFIRMED_STOP = OpsSessionOut.model_validate(
    OPS
    | {
        "settlement": CONFIRMED["settlement"],
        "needs_attention": True,
        "attention": [
            {
                "code": "stop_unconfirmed",
                "severity": "critical",
                "detail": "4 stops",
                "what_to_do": "Stop it.",
                "amount_at_risk": None,
                "since": "2026-11-22T10:05:00.000Z",
                "acknowledged": None,
            }
        ],
    }
)


def line(kind: str, source: str = "watcher") -> JournalOut:
    return JournalOut(at=NOON, kind=kind, source=source, detail={})


def capture(outcome: str, amount: int) -> CaptureOut:
    return CaptureOut(outcome=outcome, amount=amount, reference="psp-1", retryable=True, reported_at=NOON)


def good_account() -> Account:
    session = OpsSessionOut.model_validate(OPS | {"settlement": CONFIRMED["settlement"]})
    return Account(
        story=STORY,
        session=session,
        journal=[line("start_intended"), line("start_unknown")],
        captures=[capture("captured", 1234), capture("released", 3766)],
        charges=[MontaCharge(id="689100419745380035", state="completed", price=Decimal("12.34"))],
        still_held=0,
    )


# What is drawn and said


@given(
    used=st.integers(0, 10_000),
    authorized=st.integers(1, 9_000),
    width=st.integers(1, 60),
    plain=st.booleans(),
)
def test_a_bar_has_its_width_and_is_full_only_when_all_is_used(
    used: int, authorized: int, width: int, plain: bool
) -> None:
    drawn = bar(used, authorized, width, ascii_only=plain)
    assert len(drawn) == width
    assert (drawn in ("█" * width, "#" * width)) == (used >= authorized)
    assert drawn.isascii() == plain


@pytest.mark.parametrize(
    ("used", "drawn"),
    [(0, "░░░░"), (1, "▏░░░"), (25, "█░░░"), (50, "██░░"), (54, "██▏░"), (99, "███▉"), (100, "████")],
)
def test_a_bar_is_drawn_in_eighths_of_a_cell(used: int, drawn: str) -> None:
    assert bar(used, 100, 4) == drawn


@pytest.mark.parametrize(("amount", "text"), [(0, "0.00"), (5, "0.05"), (1234, "12.34"), (-5, "-0.05")])
def test_money_is_written_in_major_units(amount: int, text: str) -> None:
    assert money(amount) == text


def test_journal_lines_are_shown_in_a_few_words_and_unknown_kinds_as_they_are() -> None:
    assert in_words("charge_reported", "monta_webhook", {"state": "charging"}) == "webhook: charging"
    settled: dict[str, str | int | bool | None] = {"action": "capture", "to_capture_minor": 1234}
    assert in_words("settlement_decided", "watcher", settled) == "capture 12.34"
    assert in_words("stop_intended", "watcher", {"attempt": 3}) == "stop no. 3"
    assert in_words("meter_ran_backwards", "monta_api", {}) == "meter ran backwards"


# What it is set up with


@pytest.mark.parametrize("group", PRICE_GROUPS, ids=lambda group: group.name)
def test_the_tariff_of_a_price_group_comes_out_as_montas_price(group: PriceGroup) -> None:
    charging_s, energy_wh = 40 * 60, 23_456
    monta = price(group, Usage(energy_wh, Decimal(charging_s), Decimal(0)))
    periods = [Period(start=NOON, seconds=charging_s, wh=energy_wh, kind=PeriodKind.CHARGING)]
    ours = _ours(group, periods)
    assert ours == Currency().minor(monta.total)


@pytest.mark.parametrize("idle_min", [5, 15, 60])
def test_the_tariff_never_costs_less_than_montas_idle_fee(idle_min: int) -> None:
    group = next(group for group in PRICE_GROUPS if group.idle_fee)
    monta = price(group, Usage(10_000, Decimal(1200), Decimal(idle_min * 60)))
    periods = [
        Period(start=NOON, seconds=1200, wh=10_000, kind=PeriodKind.CHARGING),
        Period(start=NOON + timedelta(minutes=20), seconds=idle_min * 60, wh=0, kind=PeriodKind.PARKING),
    ]
    ours = _ours(group, periods)
    assert ours >= Currency().minor(monta.total)


def _ours(group: PriceGroup, periods: list[Period]) -> int:
    total = price_of(parse_tariff(ocpi_tariff(group)), periods, ZoneInfo("UTC")).total
    return to_minor(total, "EUR", Rounding.HALF_UP)


@given(speed=st.floats(1, 1000))
def test_the_settings_of_the_demo_are_allowed_at_every_speed(speed: float) -> None:
    chosen = {
        name.removeprefix("TAPWATT_").lower(): value for name, value in settings_of_the_demo(speed).items()
    }
    settings = settings_from(chosen, Settings)
    assert settings.send_guard_s + settings.start_timeout_s <= settings.quiet_window_s


def test_every_story_has_a_charge_point_of_its_own_and_a_title_that_fits() -> None:
    points = [story.charge_point_id for story in STORIES]
    assert len(set(points)) == len(points)
    assert set(points) <= set(GROUP_OF_POINT)
    assert all(len(story.title) <= 17 for story in STORIES)


# Whether it adds up


def test_an_account_that_adds_up_has_no_problems() -> None:
    account = good_account()
    assert list(account.problems()) == []
    assert (account.captured, account.released, account.posts) == (1234, 3766, 1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"captures": [capture("captured", 1234)]}, "captured 12.34 + released 0.00 is not 50.00"),
        ({"still_held": 3766}, "37.66 are still held"),
        ({"charges": []}, "captured 12.34, but Monta's price is 0"),
        ({"journal": [line("start_unknown")]}, "POST /charges was sent 0 times"),
        ({"journal": [line("start_intended")]}, "its journal has no start_unknown"),
        ({"story": replace(STORY, ending=Ending())}, "it ended completed / driver, not completed"),
        ({"session": OpsSessionOut.model_validate(OPS)}, "the settlement is not confirmed"),
        ({"session": UNCONFIRMED_STOP}, "it needs attention: stop_unconfirmed"),
        (
            {"story": replace(STORY, ending=replace(STORY.ending, least_stops=4))},
            "1 stops were sent, not 4",
        ),
        (
            {"charges": [MontaCharge(id="7", state="charging", price=Decimal("12.34"))]},
            "at Monta these charges have not ended: 7",
        ),
    ],
)
def test_whatever_does_not_add_up_is_named(change: dict[str, object], problem: str) -> None:
    account = replace(good_account(), **change)  # type: ignore[arg-type]
    assert problem in list(account.problems())


def test_a_webhook_where_all_are_lost_is_named() -> None:
    account = good_account()
    account = replace(
        account,
        story=replace(STORY, ending=replace(STORY.ending, webhooks=False)),
        journal=[*account.journal, line("charge_reported", "monta_webhook")],
    )
    assert list(account.problems()) == ["a webhook came, though all are lost"]


def test_the_bank_gives_no_more_than_it_holds() -> None:
    bank = Bank()
    bank.hold("A-1", 2000)
    bank.take("A-1", 1500)
    with pytest.raises(DemoFailed, match=r"A-1: 1\.00 EUR more than the hold"):
        bank.take("A-1", 600)
    assert bank.held == {"A-1": 500}


# How it ends


def test_a_signal_is_raised_at_once_or_when_what_was_begun_is_finished() -> None:
    interrupts = Interrupts()
    done: list[str] = []

    def work() -> None:
        with interrupts.held():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("finished")

    with interrupts.caught():
        with pytest.raises(Interrupted) as caught:
            os.kill(os.getpid(), signal.SIGINT)
        assert caught.value.status == 130
        with pytest.raises(Interrupted) as caught:
            work()
        assert caught.value.status == 143
    assert done == ["finished"]


def test_a_signal_takes_the_place_of_the_error_that_it_caused() -> None:
    interrupts = Interrupts()

    def work() -> None:
        with interrupts.held():
            os.kill(os.getpid(), signal.SIGINT)
            raise DemoFailed("a child of ours was interrupted too")

    with interrupts.caught(), pytest.raises(Interrupted):
        work()


def test_a_command_that_fails_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path, tmp_path, base_environment(), Interrupts())
    with pytest.raises(DemoFailed, match=r"(?s)`migrate` ended by itself with status 2\..*--no-such-option"):
        processes.run_all([("migrate", ("migrate", "--no-such-option"))])


def test_the_machines_own_settings_are_kept_out_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPWATT_START_DEADLINE_S", "11")
    assert "TAPWATT_START_DEADLINE_S" not in base_environment()
