"""Turns valid requests into hostile ones, for the tests that send them to every endpoint."""

import json
import re
from random import Random
from typing import Any

import httpx

CANARY = "zqx7canaryzqx7"
"""In names and values that no one else uses: an answer that repeats it echoes what was sent."""

SPECIAL: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**300, 1e308, -0.0, 1e-320, 0.1,
    "", " ", "0", "-1", "null", "true", "NaN", "a\0b", "\ud800", "\u202e", "ÿ" * 300, "𝕏", "../../etc/passwd",
    "' OR 1=1 --", "%00", "%s%n", "{{7*7}}", "\r\nX-Injected: 1", "<script>", "4242 4242 4242 4242",
    "2026-11-22T10:00:00Z", "9999-12-31T23:59:59-23:59", "0000-00-00", "EUR", "101", CANARY, [], {}, [[[[]]]],
]  # fmt: skip


class Mangler:
    """Turns valid requests into hostile ones, by chance from a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)

    def value(self, depth: int = 3) -> Any:
        kind = self.chance.random()
        if kind < 0.7 or not depth:
            return self.chance.choice(SPECIAL)
        if kind < 0.85:
            return [self.value(depth - 1) for _ in range(self.chance.randrange(4))]
        return {self.name(): self.value(depth - 1) for _ in range(self.chance.randrange(4))}

    def name(self) -> str:
        known = ("id", "amount", "reference", "authorization", "payload", "entityId", "state", "__proto__")
        return self.chance.choice([*known, CANARY, f"{CANARY}.x[0]", "", "ü", "$ref", "a\0b"])

    def mangled(self, value: Any) -> Any:
        """The same with one to three parts replaced, removed, added or wrapped."""
        value = json.loads(json.dumps(value))
        for _ in range(self.chance.randrange(1, 4)):
            value = self._once(value)
        return value

    def _once(self, value: Any) -> Any:
        if isinstance(value, dict) and value and self.chance.random() < 0.8:
            name = self.chance.choice(list(value))
            change = self.chance.random()
            if change < 0.2:
                return {n: v for n, v in value.items() if n != name}
            if change < 0.35:
                return value | {self.name(): self.value()}
            return value | {name: self._once(value[name])}
        if isinstance(value, list) and value and self.chance.random() < 0.8:
            at = self.chance.randrange(len(value))
            return [*value[:at], self._once(value[at]), *value[at + self.chance.randrange(2) :]]
        return self.value()

    def body(self, valid: Any) -> bytes:
        """JSON mostly, sometimes with bytes cut, added, or of another encoding."""
        text = json.dumps(self.mangled(valid) if valid is not None else self.value())
        body = text.encode("utf-8", "surrogatepass")
        kind = self.chance.random()
        at = self.chance.randrange(len(body) + 1)
        if kind < 0.06:
            return body[:at]
        if kind < 0.12:
            return body[:at] + self.chance.randbytes(3) + body[at:]
        if kind < 0.14:
            return text.encode("utf-16", "surrogatepass")
        if kind < 0.16:
            return b"[" * self.chance.choice([100, 60_000])
        if kind < 0.18:
            return body[:-1] + b"," + body[1:]
        return body

    def text(self) -> str:
        return self.chance.choice([*(v for v in SPECIAL if isinstance(v, str)), "x" * 300, CANARY, "ps_1"])

    def header(self) -> str:
        """A header's value that HTTP allows: what it forbids, the server refuses before us."""
        return re.sub(r"[^\t\x20-\x7e\x80-\xff]", "?", self.text()).strip()


def in_bytes(headers: dict[str, bytes]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value) for name, value in headers.items()]


def sendable(text: str) -> str:
    """Without lone surrogates, which no address can have."""
    return text.encode("utf-8", "replace").decode()


def was_too_slow(answer: httpx.Response) -> bool:
    """Whether the database did not answer in time, on a busy machine: the same request is then sent once more."""
    return answer.status_code == 503 and answer.json().get("code") == "unavailable"
