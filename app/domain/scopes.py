"""What Monta must allow a credential, and what does not work without: `entity:permission` scopes.

Source: Monta's reference and plug-in page. `read` < `write` < `delete`, a higher permission includes the lower ones;
`all` stands for every entity. Older credentials tell entities without a permission, from a short closed list.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_RANKS = {"read": 1, "write": 2, "delete": 3}
_EVERY = max(_RANKS.values())
_SHORT_LIST = frozenset({"charge-points", "charge-transactions", "control-charging"})
"""What the old form has words for, among what we need; of anything else it tells nothing."""


@dataclass(frozen=True, slots=True)
class Need:
    """One of these scopes is needed. `always`: no session can be had without it, however Tapwatt is set up."""

    any_of: tuple[str, ...]
    without: str
    always: bool = False

    @property
    def words(self) -> str:
        return " or ".join(self.any_of)


CONTROL = Need(
    ("control-charging:write", "control-public-charging:write"),
    "no charge can be started or stopped",
    always=True,
)
NEEDS = (
    Need(
        ("charge-transactions:read",),
        "no charge can be read or looked for, so none can be limited or settled",
        always=True,
    ),
    CONTROL,
    Need(
        ("charge-points:read",),
        "terminals see no state of a charge point, and its rating and price group are not known",
        always=True,
    ),
    Need(("price-groups:read",), "prices are not known but by tariffs that you set, or from earlier charges"),
    Need(
        ("manage-webhooks:write",),
        "webhooks do not register themselves: set them at Monta by hand, or each charge is read again and again",
    ),
    Need(("webhooks:read",), "what Monta could not deliver is not found in its log"),
)


def missing(scopes: Iterable[str]) -> tuple[Need, ...]:
    """What is needed and not among them, as far as they tell; none at all tell nothing. Unknown words are ignored."""
    held = _held(scopes)
    if held is None:
        return ()
    ranks, is_whole = held
    return tuple(need for need in NEEDS if not _covers(ranks, need) and (is_whole or _is_told(need)))


def scope_doubts(scopes: Iterable[str], *, always_only: bool = False) -> tuple[str, ...]:
    """Each missing scope, and what will not work without it."""
    return tuple(
        f"the credential lacks the scope {need.words}: {need.without}"
        for need in missing(scopes)
        if need.always or not always_only
    )


def may_control(scopes: Iterable[str]) -> bool:
    """Whether charges may be started and stopped, for certain not only where scopes name their permissions."""
    held = _held(scopes)
    return held is None or _covers(held[0], CONTROL) or not held[1]


def _held(scopes: Iterable[str]) -> tuple[dict[str, int], bool] | None:
    """The highest permission by entity, and whether that is all of it; None: nothing was told."""
    words = [scope.strip().lower() for scope in scopes if scope.strip()]
    if not words:
        return None
    ranks: dict[str, int] = {}
    is_whole = False
    for word in words:
        entity, colon, permission = word.partition(":")
        if not colon:
            rank = _EVERY
        elif (told := _RANKS.get(permission)) is not None:
            rank, is_whole = told, True
        else:
            continue
        ranks[entity] = max(ranks.get(entity, 0), rank)
    return ranks, is_whole


def _covers(ranks: dict[str, int], need: Need) -> bool:
    everything = ranks.get("all", 0)
    return any(max(everything, ranks.get(entity, 0)) >= rank for entity, rank in _parts(need))


def _is_told(need: Need) -> bool:
    return any(entity in _SHORT_LIST for entity, _ in _parts(need))


def _parts(need: Need) -> Iterator[tuple[str, int]]:
    for scope in need.any_of:
        entity, _, permission = scope.partition(":")
        yield entity, _RANKS[permission]
