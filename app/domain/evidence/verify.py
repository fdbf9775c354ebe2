"""Verifies a bundle by itself: seal, journal's chain, bill."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from app.domain.evidence.bundle import ALGORITHM, FORMAT, seal_of
from app.domain.evidence.chain import Line, Linked, broken_at
from app.domain.session.settlement import (
    CaptureOutcome,
    CaptureReport,
    HoldShare,
    Settlement,
    SettlementAction,
    SettlementBasis,
    SettlementStatus,
    after_reports,
    decided_digest,
    settle,
)
from app.domain.session.states.journal import JournalKind as K
from app.domain.units.canonical import digest
from app.domain.units.money import Rounding, to_minor

Json = Mapping[str, object]


def problems(bundle: object) -> list[str]:
    """Returns what does not fit in a bundle, in words. Without values of it; empty: nothing was changed."""
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        return [f"this is no bundle of the format {FORMAT}"]
    found = []
    for check in CHECKS:
        try:
            found += list(check(bundle))
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, IndexError):
            found.append(f"{check.__name__.strip('_')}: a field is missing or of another kind")
    return found


def _seal(bundle: Json) -> Iterator[str]:
    if bundle["seal"] != seal_of(bundle):
        yield "seal: the bundle was changed after it was made"


def _chain(bundle: Json) -> Iterator[str]:
    lines = [
        Linked(
            Line(
                session_id=_dict(bundle["session"])["id"],  # type: ignore[arg-type]
                number=line["number"],  # type: ignore[arg-type]
                at=datetime.fromisoformat(str(line["at"])),
                kind=line["kind"],  # type: ignore[arg-type]
                source=line["source"],  # type: ignore[arg-type]
                detail=line["detail"],  # type: ignore[arg-type]
            ),
            str(line["hash"]),
        )
        for line in _dicts(bundle["journal"])
    ]
    chain = _dict(bundle["chain"])
    if chain["algorithm"] != ALGORITHM:
        yield "chain: it names another algorithm"
    why = broken_at(lines, head=str(chain["head"]), count=_int(chain["lines"]))
    if why is not None:
        yield f"chain: {why}"


def _request(bundle: Json) -> Iterator[str]:
    first = _dicts(bundle["journal"])[0]
    if first["kind"] != K.PAYMENT_AUTHORIZED or _dict(first["detail"])["request"] != digest(
        bundle["request"]
    ):
        yield "request: it is not the one that the journal begins with"


def _settlement(bundle: Json) -> Iterator[str]:
    decisions = [line for line in _dicts(bundle["journal"]) if line["kind"] == K.SETTLEMENT_DECIDED]
    if bundle["settlement"] is None:
        if decisions:
            yield "settlement: the journal has one, the bundle has none"
        return
    settlement = _dict(bundle["settlement"])
    if len(decisions) != 1:
        yield f"settlement: the journal has {len(decisions)} decisions"
    elif _dict(decisions[0]["detail"])["settlement"] != decided_digest(settlement):
        yield "settlement: it is not the one that the journal records"


def _bill(bundle: Json) -> Iterator[str]:
    """Recomputes the amounts from holds and price, or a given amount."""
    if bundle["settlement"] is None:
        return
    settlement, holds = _dict(bundle["settlement"]), _holds(bundle)
    billed = _int(settlement["to_capture_minor"]) + _int(settlement["shortfall_minor"])
    never = datetime.min  # noqa: DTZ901  # not compared
    again = settle(sum(holds.values()), billed, energy_wh=0, at=never, deadline=never, session_date=never)
    for name in ("action", "to_capture_minor", "to_release_minor", "shortfall_minor"):
        if settlement[name] != getattr(again, name):
            yield f"bill: {name} does not follow from the price and the holds"
    yield from _spread(settlement, holds)
    yield from _rests_on(bundle, settlement, billed)


def _holds(bundle: Json) -> dict[str, int]:
    """Returns each hold's amount by reference, from request and journal."""
    request = _dict(bundle["request"])
    holds = {str(request["reference"]): _int(request["amount_minor"])}
    for line in _dicts(bundle["journal"]):
        if line["kind"] == K.TOPPED_UP:
            detail = _dict(line["detail"])
            holds[str(detail["reference"])] = _int(detail["amount_minor"])
    return holds


def _spread(settlement: Json, holds: Mapping[str, int]) -> Iterator[str]:
    shares = _dicts(settlement["shares"])
    if {str(s["reference"]): s["amount_minor"] for s in shares} != holds:
        yield "bill: its shares are not the holds"
    for name in ("to_capture_minor", "to_release_minor"):
        if sum(_int(share[name]) for share in shares) != settlement[name]:
            yield f"bill: the shares' {name} do not add up"
    for share in shares:
        if _int(share["to_capture_minor"]) + _int(share["to_release_minor"]) != share["amount_minor"]:
            yield "bill: a share does not add up to its hold"


def _rests_on(bundle: Json, settlement: Json, billed: int) -> Iterator[str]:
    """Compares the bill with what its basis says it rests on."""
    lines = _dicts(bundle["journal"])
    detail = [_dict(line["detail"]) for line in lines if line["kind"] == K.SETTLEMENT_DECIDED][-1]
    price = None if detail["price"] is None else Decimal(str(detail["price"]))
    record = None if bundle["final_record"] is None else _dict(bundle["final_record"])["price"]
    match SettlementBasis(str(settlement["basis"])):
        case SettlementBasis.FINAL_PRICE:
            if record is None or price is None or Decimal(str(record)) != price:
                yield "bill: its price is not that of Monta's final record"
            right = price is not None and billed == _minor(price, bundle)
        case SettlementBasis.LAST_PRICE:
            right = price is not None and billed == _minor(price, bundle)
        case SettlementBasis.PERSON:
            kinds = (K.AMOUNT_DECIDED, K.CLOSED_BY_OPERATIONS)
            decided = [_dict(line["detail"])["amount_minor"] for line in lines if line["kind"] in kinds]
            right = decided[-1:] == [billed]
        case SettlementBasis.TARIFF_MINIMUM:
            right = bundle["request"] is not None and _dict(bundle["request"])["tariff"] is not None
        case _:
            right = billed == 0
    if not right:
        yield "bill: it does not follow from what it rests on"


def _captures(bundle: Json) -> Iterator[str]:
    """Compares the PSP's reports with journal and settlement. The settlement's status with the reports."""
    names = ("outcome", "amount_minor", "reference", "authorization_reference", "retryable")
    kept = [
        (report["reported_at"], *(report[name] for name in names)) for report in _dicts(bundle["captures"])
    ]
    said = [
        (line["at"], *(_dict(line["detail"])[name] for name in names))
        for line in _dicts(bundle["journal"])
        if line["kind"] == K.CAPTURE_REPORTED
    ]
    if Counter(kept) != Counter(said):
        yield "captures: they are not those that the journal records"
    if bundle["settlement"] is None:
        return
    settlement = _dict(bundle["settlement"])
    again = after_reports(_undone(settlement), [_report(each) for each in _dicts(bundle["captures"])])
    shares = [share["status"] for share in _dicts(settlement["shares"])]
    if kept and [again.status, *(s.status for s in again.shares)] != [settlement["status"], *shares]:
        yield "captures: the settlement's status does not follow from them"
    if not kept and {settlement["status"], *shares} != {SettlementStatus.DUE}:
        yield "captures: there are none, but the settlement has a status"


def _undone(settlement: Json) -> Settlement:
    """The settlement before the PSP did anything; only its amounts count."""
    begun = datetime.min  # noqa: DTZ901
    return Settlement(
        action=SettlementAction(str(settlement["action"])),
        to_capture_minor=_int(settlement["to_capture_minor"]),
        to_release_minor=_int(settlement["to_release_minor"]),
        shortfall_minor=_int(settlement["shortfall_minor"]),
        energy_wh=0,
        decided_at=begun,
        deadline=begun,
        session_date=begun,
        shares=tuple(
            HoldShare(
                reference=str(share["reference"]),
                amount_minor=_int(share["amount_minor"]),
                to_capture_minor=_int(share["to_capture_minor"]),
                to_release_minor=_int(share["to_release_minor"]),
            )
            for share in _dicts(settlement["shares"])
        ),
    )


def _report(report: Json) -> CaptureReport:
    hold = report["authorization_reference"]
    return CaptureReport(
        outcome=CaptureOutcome(str(report["outcome"])),
        amount_minor=_int(report["amount_minor"]),
        reference=str(report["reference"]),
        authorization_reference=None if hold is None else str(hold),
    )


def _minor(price: Decimal, bundle: Json) -> int:
    currency = str(_dict(bundle["request"])["currency"])
    return max(0, to_minor(price, currency, Rounding.HALF_UP))


def _dict(value: object) -> Json:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _dicts(value: object) -> list[Json]:
    if not isinstance(value, list):
        raise TypeError
    return [_dict(each) for each in value]


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


CHECKS: tuple[Callable[[Json], Iterator[str]], ...] = (_seal, _chain, _request, _settlement, _bill, _captures)
