"""What the load generator sends next: deliveries, crossings, authorizations, reads."""

import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.load import wire

Job = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    data: bytes
    units: int = 1
    """Entries in it, or 1."""
    charges: tuple[int, ...] = ()
    wh: int = 0


class Plan(Protocol):
    """Yields requests until it has none left."""

    def requests(self) -> Iterator[Request]: ...

    def sent(self, request: Request, at_s: float) -> None: ...

    def acknowledged(self, request: Request) -> None: ...

    def result(self) -> Job: ...


class Plain:
    """A plan that keeps nothing about its requests."""

    def __init__(self, requests: Iterator[Request]) -> None:
        self._requests = requests

    def requests(self) -> Iterator[Request]:
        return self._requests

    def sent(self, request: Request, at_s: float) -> None:
        return

    def acknowledged(self, request: Request) -> None:
        return

    def result(self) -> Job:
        return {}


@dataclass
class Webhooks:
    """Deliveries of `batch` entries over charges in turn; each entry reports what `watts` give since `began_s`.

    With `wh` each charge gets one entry of that energy, and then no more. With `moments` each charge gets one of each of
    these times, the oldest of all charges first.
    """

    path: str
    secret: str
    batch: int
    first: int
    count: int
    session: str
    """A session's id; with `%d` in it for the number of the charge."""
    began_s: float
    watts: float = 0
    wh: int | None = None
    moments: list[float] | None = None
    newest: dict[int, int] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)

    def requests(self) -> Iterator[Request]:
        order = list(range(self.count))
        random.Random(1).shuffle(order)
        for at_s in self.moments or ():
            for first in range(0, self.count, self.batch):
                yield self._request(tuple(order[first : first + self.batch]), at_s)
        if self.moments is not None:
            return
        turns = iter(order) if self.wh is not None else itertools.cycle(order)
        while numbers := tuple(itertools.islice(turns, self.batch)):
            yield self._request(numbers, time.time())

    def _request(self, numbers: tuple[int, ...], now_s: float) -> Request:
        wh = int(self.watts * (now_s - self.began_s) / 3600) if self.wh is None else self.wh
        shared = {
            b"at": wire.when(now_s),
            b"began": wire.when(self.began_s),
            b"kwh": wh / 1000,
            b"limit": b"500",
        }
        entries = [
            wire.ENTRY % (shared | {b"id": self.first + number, b"session": self._session(number)})
            for number in numbers
        ]
        body = wire.delivery(entries, now_s)
        return Request(wire.signed(self.path, self.secret, body), len(numbers), numbers, wh)

    def _session(self, number: int) -> bytes:
        return (self.session % number if "%" in self.session else self.session).encode()

    def sent(self, request: Request, at_s: float) -> None:
        if self.wh is not None:
            self.times |= dict.fromkeys(request.charges, at_s)

    def acknowledged(self, request: Request) -> None:
        for number in request.charges:
            self.newest[number] = max(request.wh, self.newest.get(number, 0))

    def result(self) -> Job:
        return {"newest": list(self.newest.items()), "sent": list(self.times.items())}


@dataclass
class Polls:
    """One long poll a session, `share` of them by each key; `path` has the session's number as `%d`."""

    path: str
    keys: list[str]
    share: int
    count: int
    answered: dict[int, float] = field(default_factory=dict)

    def requests(self) -> Iterator[Request]:
        for number in range(self.count):
            key = self.keys[number // self.share]
            yield Request(wire.request("GET", self.path % number, key=key), charges=(number,))

    def sent(self, request: Request, at_s: float) -> None:
        return

    def acknowledged(self, request: Request) -> None:
        self.answered[request.charges[0]] = time.monotonic()

    def result(self) -> Job:
        return {"answered": list(self.answered.items())}


def authorizations(path: str, key: str, first_point: int, count: int, prefix: str) -> Iterator[Request]:
    """One payment a charge point."""
    for number in range(count):
        held = {
            "reference": f"{prefix}{number:07d}",
            "amount": 50_000,
            "currency": "EUR",
            "card": {"brand": "visa", "last4": "4242", "fingerprint": f"fp-{prefix}{number}"},
        }
        body = json.dumps({"charge_point_id": str(first_point + number), "authorization": held}).encode()
        yield Request(wire.request("POST", path, body, key=key))


def reads(path: str, key: str, count: int, keys: Sequence[str] = ()) -> Iterator[Request]:
    """GET; `%d` in the path is the number of a session, in random order, again and again. With `keys`: by turns."""
    rng = random.Random(2)
    if "%" not in path:
        yield from itertools.cycle([Request(wire.request("GET", path, key=each)) for each in (key, *keys)])
    while True:
        yield Request(wire.request("GET", path % rng.randrange(count), key=key))


def plan_of(kind: str, given: Job) -> Plan:
    match kind:
        case "webhook":
            return Webhooks(**given)
        case "authorize":
            return Plain(authorizations(**given))
        case "polls":
            return Polls(**given)
        case "get":
            return Plain(reads(**given))
        case _:
            raise ValueError(f"there is no plan {kind!r}")
