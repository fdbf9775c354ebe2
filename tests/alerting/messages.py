"""A message to operations, as the tests of outlets send it."""

from datetime import UTC, datetime

from app.domain.alerts.causes import AlertCode, Cause
from app.domain.alerts.message import Alert, Message, message_due
from app.domain.session.attention import Severity
from app.domain.units.ids import OperatorId

NOW = datetime.now(UTC)  # the receiver's library compares with the machine's clock


def message(detail: str = "401") -> Message:
    of = Cause(
        code=AlertCode.CREDENTIAL_REFUSED,
        severity=Severity.CRITICAL,
        detail=detail,
        operator_id=OperatorId("op_1"),
    )
    found = message_due([Alert(id=1, cause=of, opened_at=NOW)], NOW, None)
    assert found is not None
    return found
