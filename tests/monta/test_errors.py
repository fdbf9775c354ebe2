"""The classification of statuses and failures is total, and nothing dangerous is among the certain ones."""

import inspect

import httpx
import pytest

from app.monta.errors import OF_FAILURE, MontaError, NotDone, Outcome, OutcomeUnknown, outcome_of

NOT_DONE = {400, 401, 403, 404, 409, 422, 429}
CONNECTION_NEVER_MADE = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL"}


def classes_below(root: type[Exception]) -> set[type[Exception]]:
    below = set(root.__subclasses__())
    return below.union(*(classes_below(cls) for cls in below))


def exceptions_of_httpx() -> set[type[Exception]]:
    """Every exception class that httpx exports or derives from one that it exports."""
    exported = {
        value for value in vars(httpx).values() if inspect.isclass(value) and issubclass(value, Exception)
    }
    family = exported.union(*(classes_below(cls) for cls in exported))
    return {cls for cls in family if cls.__module__.partition(".")[0] == "httpx"}


def name_of(cls: type[Exception]) -> str:
    return cls.__name__


def concrete(cls: type[Exception]) -> bool:
    """Raised itself; the classes in between only gather others of the same library."""
    library = cls.__module__.partition(".")[0]
    return not any(below.__module__.partition(".")[0] == library for below in classes_below(cls))


OF_HTTPX: list[type[Exception]] = sorted(exceptions_of_httpx(), key=name_of)
SORTED: list[type[Exception]] = sorted(OF_FAILURE, key=name_of)


@pytest.mark.parametrize("cls", OF_HTTPX)
def test_every_exception_class_of_this_httpx_was_sorted_by_hand_f95(cls: type[Exception]) -> None:
    if concrete(cls):
        assert cls in OF_FAILURE, f"httpx raises {cls.__name__}: was the request sent? Say so in OF_FAILURE"
    else:
        assert cls not in OF_FAILURE, f"{cls.__name__} would sort its future subclasses unseen"


def test_nothing_is_sorted_that_httpx_does_not_raise() -> None:
    assert set(OF_FAILURE) <= exceptions_of_httpx()


@pytest.mark.parametrize("cls", SORTED)
def test_only_a_connection_that_was_never_made_means_not_sent_f95(cls: type[Exception]) -> None:
    raised = cls.__new__(cls)
    expected = Outcome.NOT_SENT if cls.__name__ in CONNECTION_NEVER_MADE else Outcome.UNKNOWN
    assert outcome_of(raised) is expected


@pytest.mark.parametrize("failure", [OSError(), TimeoutError(), RuntimeError(), ValueError()])
def test_an_unforeseen_failure_leaves_the_outcome_unknown(failure: Exception) -> None:
    assert outcome_of(failure) is Outcome.UNKNOWN


def test_a_subclass_that_httpx_does_not_export_is_sorted_like_its_parent() -> None:
    class ViaAProxy(httpx.ConnectError):
        pass

    assert outcome_of(ViaAProxy("no")) is Outcome.NOT_SENT


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_is_done_not_done_or_unknown(status: int) -> None:
    outcome = outcome_of(status)
    if 200 <= status <= 299:
        assert outcome is Outcome.DONE
    elif status in NOT_DONE:
        assert outcome in {Outcome.REFUSED, Outcome.UNAUTHORIZED, Outcome.QUOTA}
    else:
        assert outcome is Outcome.UNKNOWN


def test_401_asks_for_a_token_and_429_for_patience_and_the_rest_is_a_refusal() -> None:
    assert outcome_of(401) is Outcome.UNAUTHORIZED
    assert outcome_of(429) is Outcome.QUOTA
    assert {outcome_of(status) for status in NOT_DONE - {401, 429}} == {Outcome.REFUSED}


def test_every_error_is_either_certainly_not_done_or_of_unknown_outcome() -> None:
    leaves = [cls for cls in classes_below(MontaError) if cls.__module__.startswith("app.") and concrete(cls)]
    assert leaves
    for cls in leaves:
        assert issubclass(cls, NotDone) != issubclass(cls, OutcomeUnknown)
