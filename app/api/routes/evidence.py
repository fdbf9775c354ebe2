"""Endpoint that hands out the evidence of one payment session."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.api.docs import ops_examples as examples
from app.api.http.auth import CallingOps, ContextHere
from app.api.http.requests import StrictRoute
from app.api.routes.ops import SessionPath
from app.flows.admin.queries import visible_to
from app.flows.evidence import evidence_of
from app.strict_json import dump_json

router = APIRouter(prefix="/v1/ops", route_class=StrictRoute, tags=["operations"])


class EvidenceOut(BaseModel):
    """A bundle as `tapwatt evidence verify` reads it; what its parts hold is described in docs/evidence.md."""

    format: str
    made_at: str
    session: dict[str, Any]
    request: dict[str, Any] = Field(description="what the terminal sent, with the tariff in force")
    card: dict[str, Any] = Field(description="all null once it was erased")
    metadata: dict[str, str]
    journal: list[dict[str, Any]] = Field(description="each line with its hash")
    chain: dict[str, Any] = Field(
        description="how many lines there are, the last line's hash, and the seal that a settled session has"
    )
    decisions: list[int] = Field(description="numbers of the lines that record our decisions")
    calls: list[int] = Field(description="numbers of the lines that record calls to Monta")
    settlement: dict[str, Any] | None
    final_record: dict[str, Any] | None = Field(description="Monta's, as it was settled by")
    captures: list[dict[str, Any]]
    deliveries: list[dict[str, Any]] = Field(description="Monta's webhooks about it that are still kept")
    keys: list[dict[str, Any]] = Field(
        description="public keys of before that the seal needs, each signed by the key after it"
    )
    seal: str = Field(description="SHA-256 of all but this and the signature")
    signature: dict[str, Any] = Field(description="of the seal, by Ed25519, with the public key")


@router.get(
    "/payment-sessions/{id}/evidence",
    summary="Get the evidence of a session",
    operation_id="opsGetEvidence",
    responses=examples.EVIDENCE,
    response_model=EvidenceOut,
)
async def evidence(context: ContextHere, key: CallingOps, session_id: SessionPath) -> Response:
    """One JSON object with all that is kept of the session; `tapwatt evidence verify` checks it without a database."""
    bundle: Any = await evidence_of(context, session_id, visible_to(key))
    return Response(dump_json(bundle), media_type="application/json")
