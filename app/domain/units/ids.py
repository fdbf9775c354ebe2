"""Distinct types for identifiers, so that none is taken for another."""

from typing import NewType

OperatorId = NewType("OperatorId", str)
"""`op_...`: one Monta credential, one webhook endpoint, one rate budget."""

TerminalId = NewType("TerminalId", str)
"""`trm_...`: one payment terminal, which may have several keys."""

KeyId = NewType("KeyId", str)
"""`key_...` of a terminal, `opk_...` of operations: names an API key, and is no secret."""

SessionId = NewType("SessionId", str)
"""`ps_...`: one payment session; also Monta's `partnerExternalId` for its charge (29 ASCII characters)."""

ChargePointId = NewType("ChargePointId", str)
"""Monta's charge point id as a string of digits (exceeds 2^53)."""

ChargeId = NewType("ChargeId", str)
"""Monta's charge id as a string of digits (exceeds 2^53)."""
