"""A Monta that answers at once and writes down its calls: `python -m bench.rig.fake_monta PORT`.

It knows no charges: an id that it did not give out is a charge that runs, or one that has ended if it was stopped.
`GET /log` returns and forgets the calls so far, with their times on the machine's monotonic clock.
"""

import asyncio
import json
import sys
import time
from typing import Any, cast

import uvloop

from bench.load.wire import when

Json = dict[str, Any]
FIRST_CHARGE, APART = 700_000_000_000_000_000, 10_000_000
"""The ids that it gives out leave room for copies between them."""
RATED_KW = {"1": 300, "2": 11}
"""Power by the first digit of the charge point's id."""
BROKEN = "broken"
"""The client id whose credentials are refused."""
QUOTA = 1_000_000
LIFE_S = 86_400.0


class FakeMonta:
    def __init__(self) -> None:
        self.calls: list[tuple[float, str, str]] = []
        self.charges: dict[str, Json] = {}
        self.stopped: set[str] = set()

    def answer(self, method: str, path: str, body: bytes) -> Json | None:
        """None: 401."""
        path = path.removeprefix("/api/v1").partition("?")[0]
        match method, path.strip("/").split("/"):
            case "GET", ["log"]:
                calls, self.calls = self.calls, []
                return {"calls": calls}
            case "POST", ["auth", _]:
                return None if json.loads(body).get("clientId") == BROKEN else self._token()
            case "POST", ["charges"]:
                return self._started(json.loads(body))
            case "GET", ["charges", charge, "stop"]:
                self._note("stop", charge)
                self.stopped.add(charge)
                return self._charge(charge)
            case "GET", ["charges", charge]:
                self._note("read", charge)
                return self._charge(charge)
            case _:
                return _account(path.strip("/").split("/"), body)

    def _note(self, kind: str, about: str) -> None:
        self.calls.append((time.monotonic(), kind, about))

    def _token(self) -> Json:
        until = when(time.time() + LIFE_S).decode()
        return {
            "accessToken": "access",
            "refreshToken": "refresh",
            "accessTokenExpirationDate": until,
            "refreshTokenExpirationDate": until,
        }

    def _started(self, order: Json) -> Json:
        self._note("start", order["partnerExternalId"])
        charge = str(FIRST_CHARGE + APART * (len(self.charges) + 1))
        now = when(time.time()).decode()
        self.charges[charge] = {
            "state": "charging",
            "createdAt": now,
            "startedAt": now,
            "cablePluggedInAt": now,
            "chargePointId": order["chargePointId"],
            "partnerExternalId": order["partnerExternalId"],
            "kwhLimit": order.get("kwhLimit"),
            "priceLimit": order.get("priceLimit"),
            "genericPaymentSession": order["genericPaymentSession"],
            "payingTeam": {"id": order["payingTeamId"]},
        }
        return self._charge(charge)

    def _charge(self, charge: str) -> Json:
        now = when(time.time()).decode()
        known = {"state": "charging"} | self.charges.get(charge, {})
        ended = {"state": "completed", "stoppedAt": now, "completedAt": now, "consumedKwh": 0.9, "price": 0.9}
        return {
            "id": int(charge),
            "updatedAt": now,
            "currency": {"identifier": "EUR", "decimals": 2},
            **known,
            **(ended if charge in self.stopped else {}),
        }


def _account(path: list[str], body: bytes) -> Json:
    """What the synchronization of an operator asks for; lists are empty."""
    match path:
        case ["charge-points", point]:
            return _point(point)
        case ["consumers", "me"]:
            return {"name": "bench", "operatorId": 7, "teamIds": [14], "clientId": "bench", "scopes": ["all"]}
        case ["webhooks", "config"]:
            return dict(json.loads(body)) if body else {"webhookUrl": None, "eventTypes": []}
        case _:
            return {"data": [], "meta": {"itemCount": 0, "currentPage": 0, "totalPageCount": 1}}


def _point(point: str) -> Json:
    return {
        "id": int(point),
        "name": f"Point {point}",
        "state": "available",
        "type": "dc" if point[0] == "1" else "ac",
        "maxKw": RATED_KW.get(point[0], 300),
        "cablePluggedIn": True,
        "teamId": 14,
        "updatedAt": when(time.time()).decode(),
        "connectors": [{"identifier": "ccs"}],
    }


class Server(asyncio.Protocol):
    """One connection of HTTP/1.1; requests come one after the other."""

    def __init__(self, monta: FakeMonta) -> None:
        self._monta = monta
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head_end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:head_end])
            _, found, length = head.lower().partition(b"content-length:")
            end = head_end + 4 + (int(length.split(b"\r\n", 1)[0]) if found else 0)
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[head_end + 4 : end])
            del self._buffer[:end]
            method, path, _ = head.split(b" ", 2)
            self._write(self._monta.answer(method.decode(), path.decode(), body))

    def _write(self, answer: Json | None) -> None:
        status = b"200 OK" if answer is not None else b"401 Unauthorized"
        body = json.dumps(answer or {"message": "unauthorized"}).encode()
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"ratelimit-policy: Quota\r\nratelimit-quota: %d\r\nratelimit-timewindow: 600\r\n"
            b"ratelimit-remaining: %d\r\nratelimit-resetsin: 600\r\n\r\n" % (len(body), QUOTA, QUOTA) + body
        )


async def main(port: int) -> None:
    monta = FakeMonta()
    server = await asyncio.get_running_loop().create_server(lambda: Server(monta), "127.0.0.1", port)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
