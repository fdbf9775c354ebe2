"""What an answer of Monta says: its JSON when the call was done, the fitting error when it was not."""

from app.monta.errors import MontaError, Outcome, OutcomeUnknown, Refused, Unauthorized, outcome_of
from app.monta.exchange import MAX_ANSWER_BYTES, Answer, Call
from app.monta.safe_json import BadJson, JsonIn, load_json

MAX_WORDS = 500
"""So much is kept of an error message of Monta's."""


def judged(answer: Answer, call: Call) -> JsonIn:
    """The JSON of a 2xx answer. Raises Refused, Unauthorized, OutcomeUnknown (also for 2xx without readable
    JSON)."""
    outcome = outcome_of(answer.status)
    if outcome is not Outcome.DONE:
        raise _error(outcome, answer, call)
    try:
        return load_json(answer.body or b"", max_bytes=MAX_ANSWER_BYTES)
    except BadJson as error:
        raise OutcomeUnknown(
            f"{call.name}: {answer.status} without readable JSON", status=answer.status
        ) from error


def _error(outcome: Outcome, answer: Answer, call: Call) -> MontaError:
    code, message, readable = _words(answer, call.secrets)
    if outcome is Outcome.REFUSED:
        return Refused(call.name, answer.status, code=code, message=message, readable=readable)
    if outcome is Outcome.UNAUTHORIZED:
        return Unauthorized(f"{call.name}: 401 {code or '(no code)'}")
    return OutcomeUnknown(f"{call.name}: Monta answered {answer.status}", status=answer.status)


def _words(answer: Answer, secrets: tuple[str, ...]) -> tuple[str | None, str | None, str | None]:
    """errorCode, message and readableMessage (or their second, leaked spelling); the body may be HTML or
    nothing."""
    try:
        said = load_json(answer.body or b"", max_bytes=MAX_ANSWER_BYTES)
    except BadJson:
        said = None
    fields = said if isinstance(said, dict) else {}
    return (
        _first_text(fields, ("errorCode", "error_code"), secrets),
        _first_text(fields, ("message",), secrets),
        _first_text(fields, ("readableMessage", "readable_message", "localizedMessage"), secrets),
    )


def _first_text(fields: dict[str, JsonIn], names: tuple[str, ...], secrets: tuple[str, ...]) -> str | None:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            for secret in secrets:
                value = value.replace(secret, "[secret]") if secret else value
            return "".join(c if c.isprintable() else " " for c in value)[:MAX_WORDS]
    return None
