"""Draws everything random from one seed: ids, jitter, losses. Same seed and calls give the same history."""

import random
import string
from datetime import datetime
from uuid import UUID

_HUMAN = string.digits + "ABCDEFGHJKLMNPQRSTVWXYZ"


class RandomStreams:
    """Separate random streams for separate purposes. So one more webhook does not change the ids of later charges."""

    def __init__(self, seed: int, charge_ids_after: int) -> None:
        self._ids = random.Random(f"{seed}:ids")
        self._requests = random.Random(f"{seed}:requests")
        self._jitter = random.Random(f"{seed}:jitter")
        self._losses = random.Random(f"{seed}:losses")
        self._last_charge_id = charge_ids_after + self._ids.randrange(10**12)

    def charge_id(self) -> int:
        """Returns an id of 18 digits, rising."""
        self._last_charge_id += self._ids.randrange(1, 10**9)
        return self._last_charge_id

    def human_id(self) -> str:
        """Returns an id such as `0K41-D5S2-QXXP3`."""
        letters = "".join(self._ids.choices(_HUMAN, k=13))
        return f"{letters[:4]}-{letters[4:8]}-{letters[8:]}"

    def token(self) -> str:
        """Returns a UUID, the format of Monta's tokens."""
        return str(UUID(int=self._requests.getrandbits(128), version=4))

    def nanoseconds(self, at: datetime) -> str:
        """Formats `at` with nine fraction digits and Z. As the token endpoints write dates."""
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}{self._requests.randrange(1000):03d}Z"

    def between(self, low: float, high: float) -> float:
        return self._jitter.uniform(low, high)

    def happens(self, probability: float) -> bool:
        """True with `probability` (0 to 1)."""
        return self._losses.random() < probability
