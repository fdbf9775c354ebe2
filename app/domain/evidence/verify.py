"""Verifies a bundle by itself: signature, seal, journal's chain, bill."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial

from app.domain.evidence.bundle import ALGORITHM, FORMAT
from app.domain.evidence.chain import Line, Linked, broken_at
from app.domain.evidence.seal import seal_of, sealed_digest
from app.domain.evidence.signatures import Purpose, Voucher, is_signed, key_id_of, with_vouched
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
from app.domain.units.frozen import frozen
from app.domain.units.money import Rounding, to_minor

Json = Mapping[str, object]


def problems(bundle: object, trusted: Mapping[str, str] | None = None) -> list[str]:
    """Returns what does not fit in a bundle, in words. Without values of it; empty: nothing was changed.

    `trusted`: public keys by id. None: the key that the bundle names itself, which says only that all of it was made
    with one key.
    """
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        return [f"this is no bundle of the format {FORMAT}"]
    found = []
    for check in CHECKS:
        found += _found(check.__name__, partial(check, bundle))
    for by_key in (_signature, _sealed):
        found += _found(by_key.__name__, partial(by_key, bundle, trusted))
    return found


def _found(name: str, check: Callable[[], Iterator[str]]) -> list[str]:
    try:
        return list(check())
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, IndexError):
        return [f"{name.strip('_')}: a field is missing or of another kind"]


@frozen
class Origin:
    """Which keys signed a bundle and sealed its session, and when. None: the session is not settled yet."""

    signed_by: str
    sealed_by: str | None
    sealed_at: str | None
    lines: int


def origin_of(bundle: Json) -> Origin:
    """Says whose a bundle is. Of one without problems."""
    chain = _dict(bundle["chain"])
    seal = {} if chain["seal"] is None else _dict(chain["seal"])
    sealed_by, sealed_at = (None if seal.get(name) is None else str(seal[name]) for name in ("key_id", "at"))
    return Origin(str(_dict(bundle["signature"])["key_id"]), sealed_by, sealed_at, _int(chain["lines"]))


NOT_TRUSTED = "which is none of the given public keys, and none that they vouch for"


def _known(bundle: Json, trusted: Mapping[str, str] | None) -> Mapping[str, str]:
    """The public keys to believe, by id."""
    if trusted is None:
        public = str(_dict(bundle["signature"])["public_key"])
        trusted = {key_id_of(public): public}
    vouchers = [
        Voucher(
            key_id=str(each["key_id"]),
            public=str(each["public"]),
            vouched_by=str(each["vouched_by"]),
            signature=str(each["signature"]),
        )
        for each in _dicts(bundle["keys"])
    ]
    return with_vouched(trusted, vouchers)


def _signature(bundle: Json, trusted: Mapping[str, str] | None) -> Iterator[str]:
    known = _known(bundle, trusted)
    signature = _dict(bundle["signature"])
    key_id, seal = str(signature["key_id"]), bundle["seal"]
    if seal != seal_of(bundle):
        yield "seal: the bundle was changed after it was made"
    if key_id not in known:
        yield f"signature: it is by the key {key_id}, {NOT_TRUSTED}"
        return
    if signature["public_key"] != known[key_id]:
        yield "signature: its public key is not the one of its id"
    if not is_signed(known[key_id], Purpose.BUNDLE, str(seal), str(signature["value"])):
        yield f"signature: the bundle is not what the key {key_id} signed"


def _sealed(bundle: Json, trusted: Mapping[str, str] | None) -> Iterator[str]:
    """Checks the seal that the session got when it was settled, and with each later change."""
    known, chain = _known(bundle, trusted), _dict(bundle["chain"])
    if chain["seal"] is None:
        if bundle["settlement"] is not None:
            yield "sealed: the session is settled, but it was never sealed, or its seal was removed"
        return
    seal = _dict(chain["seal"])
    key_id = str(seal["key_id"])
    if key_id not in known:
        yield f"sealed: the session's seal is by the key {key_id}, {NOT_TRUSTED}"
        return
    again = sealed_digest(bundle, lines=_int(chain["lines"]), head=str(chain["head"]), at=str(seal["at"]))
    if not is_signed(known[key_id], Purpose.SEAL, again, str(seal["signature"])):
        yield (
            f"sealed: session, journal or final record are not what the key {key_id} sealed: they were rewritten"
            " afterwards"
        )


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
        if line["kind"] in (K.TOPPED_UP, K.HOLD_CHANGED):
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


CHECKS: tuple[Callable[[Json], Iterator[str]], ...] = (_chain, _request, _settlement, _bill, _captures)
