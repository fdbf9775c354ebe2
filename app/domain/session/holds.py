"""A session's holds: how long each is valid, what it pays. How a bill is spread over them."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from app.domain.limit.policy import Policy
from app.domain.session.payment_session import Authorization, PaymentSession
from app.domain.session.settlement import HoldShare
from app.domain.units.frozen import frozen
from app.domain.units.money import exponent, to_major

MOST_OFF = timedelta(days=1)
LONGEST = timedelta(days=31)
"""No card scheme keeps an authorization for longer; a later `expires_at` is ignored."""
SHORTEST = timedelta(minutes=2)
"""A hold too short to start, stop and settle a charge is refused."""

UNITS_PER_EUR = {
    2: "AUD AWG AZN BAM BBD BMD BND BSD BZD CAD NZD SGD XCG",
    5: "AED BYN FJD GEL ILS MYR PEN PGK PLN QAR RON SAR TMT TND TOP WST XCD",
    10: "BOB BOV BRL CNY COU DKK GHS GTQ HKD MAD MOP NOK SBD SEK SVC TJS TTD UYI",
    20: "BWP ERN LSL MDL MVR MXN MXV NAD SCR SZL ZAR",
    50: "CUP CZK EGP HNL MKD MRU MUR NIO SLE SRD STN THB TRY TWD UAH UYU ZMW ZWG",
    100: "AFN ALL BTN DOP GMD INR KGS MZN PHP RSD RUB",
    200: "BDT CVE DJF DZD ETB HTG ISK JMD JPY KES LRD NPR VUV XPF",
    500: "AMD CRC GYD HUF KMF LKR PKR VED VES YER",
    1_000: "AOA CLP KPW KZT SDG SOS XAF XOF",
    2_000: "ARS IQD KRW MWK NGN RWF",
    5_000: "BIF CDF COP KHR MGA MMK MNT SSP TZS UGX",
    10_000: "GNF PYG",
    20_000: "SYP UZS",
    50_000: "IDR LAK VND",
    200_000: "IRR LBP",
}
"""Currencies with larger ordinary amounts than EUR, by roughly this factor. All others count as EUR."""
_UNITS = {code: units for units, codes in UNITS_PER_EUR.items() for code in codes.split()}


@frozen
class TermProblem:
    """Why a hold is not taken: field and what to do. Never what was sent."""

    field: str
    message: str


def valid_until(held: Authorization, created_at: datetime, days: timedelta) -> datetime:
    """Until when a first hold is valid, by our clock. Never longer than `expires_at`, than if it was made when it
    was recorded, or than LONGEST."""
    authorized_at, expires_at = held.authorized_at, held.ends_at
    began = min(authorized_at or created_at, created_at)
    if expires_at is None:
        return began + days
    ahead = min(max(timedelta(), (authorized_at or created_at) - created_at), MOST_OFF)
    return _at_most(max(expires_at, created_at - LONGEST) - ahead, created_at, days)


def top_up_valid_until(expires_at: datetime | None, at: datetime, days: timedelta) -> datetime:
    """The same for a hold that was added at `at`."""
    return at + days if expires_at is None else _at_most(expires_at, at, days)


def _at_most(until: datetime, at: datetime, days: timedelta) -> datetime:
    return until if until <= at + LONGEST else at + days


def time_problem(held: Authorization, now: datetime, days: timedelta) -> TermProblem | None:
    """Why the hold's times do not allow a start; None: they do."""
    authorized_at, expires_at = held.authorized_at, held.expires_at
    if authorized_at is not None and abs(now - authorized_at) > MOST_OFF:
        return TermProblem(
            "authorized_at", "is more than a day away from now: set the terminal's clock, or leave it out"
        )
    if authorized_at is not None and expires_at is not None and expires_at <= authorized_at:
        return TermProblem("expires_at", "must be later than authorized_at")
    return _over_by(
        "authorized_at" if expires_at is None else "expires_at", valid_until(held, now, days), now
    )


def top_up_time_problem(expires_at: datetime | None, now: datetime, days: timedelta) -> TermProblem | None:
    """The same for one more hold."""
    return _over_by("expires_at", top_up_valid_until(expires_at, now, days), now)


def changed_time_problem(
    session: PaymentSession, reference: str, now: datetime, policy: Policy
) -> TermProblem | None:
    """The same for a hold whose `expires_at` has changed."""
    until = next(hold.valid_until for hold in holds(session, policy) if hold.reference == reference)
    return _over_by("expires_at", until, now)


def _over_by(field: str, until: datetime, now: datetime) -> TermProblem | None:
    if until <= now:
        return TermProblem(field, "the hold has expired already; make a new one")
    if until < now + SHORTEST:
        return TermProblem(field, "the hold ends too soon for a charge; make one that is valid for longer")
    return None


def most_minor(currency: str, policy: Policy, eur: int | None = None) -> int:
    """The most that one session may hold, in minor units. `eur` is the operator's own ceiling, None: the default."""
    ceiling = policy.hold_max_eur if eur is None else eur
    return int(ceiling * units_per_eur(currency) * 10 ** exponent(currency))


def units_per_eur(currency: str) -> int:
    """Roughly by how much an ordinary amount is larger than in EUR."""
    return _UNITS.get(currency, 1)


def amount_problem(authorized_minor: int, most: int, currency: str) -> TermProblem | None:
    """Why the amount is too high to be held; None: it is not. Errors repeat nothing that was sent: no currency."""
    if authorized_minor <= most:
        return None
    return TermProblem(
        "amount", f"all holds of a payment session may come to {to_major(most, currency):f} at most here"
    )


@frozen(kw_only=True)
class Hold:
    """One hold; `amount_minor` in minor units of the session's currency."""

    reference: str
    amount_minor: int
    valid_until: datetime


def holds(session: PaymentSession, policy: Policy) -> tuple[Hold, ...]:
    """All holds, the first to expire first. Of two that expire together the older one."""
    days = timedelta(days=session.hold_days if session.hold_days is not None else policy.hold_days)
    first = session.authorization
    found = [
        Hold(
            reference=first.reference,
            amount_minor=first.present_minor,
            valid_until=valid_until(first, session.created_at, days),
        )
    ]
    found += [
        Hold(
            reference=t.reference,
            amount_minor=t.present_minor,
            valid_until=top_up_valid_until(t.ends_at, t.at, days),
        )
        for t in session.top_ups
    ]
    return tuple(sorted(found, key=lambda hold: hold.valid_until))


def hold_deadline(session: PaymentSession, policy: Policy) -> datetime:
    """When the first hold expires: `expires_at`, else the policy's days."""
    return holds(session, policy)[0].valid_until


def stop_by(session: PaymentSession, policy: Policy) -> datetime:
    """Returns when a charge must stop, to leave time for the capture."""
    return hold_deadline(session, policy) - hold_margin(session, policy)


def settle_by(session: PaymentSession, policy: Policy) -> datetime:
    """Returns when an ended charge is settled without its final record. Half the margin is left to capture."""
    return hold_deadline(session, policy) - hold_margin(session, policy) / 2


def hold_margin(session: PaymentSession, policy: Policy) -> timedelta:
    """How long before the hold expires a charge is stopped. A tenth of a short hold."""
    lasts = hold_deadline(session, policy) - session.created_at
    return max(timedelta(), min(timedelta(seconds=policy.hold_margin_s), lasts / 10))


def spread(to_capture_minor: int, over: Iterable[Hold]) -> tuple[HoldShare, ...]:
    """Spreads a bill over holds in turn, and releases the rest."""
    shares = []
    for hold in over:
        captured = min(to_capture_minor, hold.amount_minor)
        to_capture_minor -= captured
        shares.append(
            HoldShare(
                reference=hold.reference,
                amount_minor=hold.amount_minor,
                to_capture_minor=captured,
                to_release_minor=hold.amount_minor - captured,
            )
        )
    return tuple(shares)
