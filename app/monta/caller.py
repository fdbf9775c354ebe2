"""Makes calls within the rate budget, with a token. Reads the answer. Collects paged lists."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from app.clock import Clock
from app.domain.units.frozen import replace
from app.domain.units.ids import OperatorId
from app.monta.errors import Outcome, QuotaExceeded, Refused, Unauthorized, outcome_of
from app.monta.lists import PER_PAGE, Rows, all_pages
from app.monta.ports import Budget, CredentialStatus, Purpose
from app.monta.token import TokenKeeper
from app.monta.transport import Answer, Call, Transport, read_answer
from app.strict_json import JsonIn

RECHECK_AFTER = timedelta(minutes=10)
"""Time between two checks of the credential after a refusal (403) that concerns one charge only."""


class Caller:
    """Shared by all calls of one operator. Only a 401 is retried, once: it is a definite refusal."""

    def __init__(
        self,
        *,
        exchange: Transport,
        tokens: TokenKeeper,
        budget: Budget,
        clock: Clock,
        operator: OperatorId,
        credential_status: CredentialStatus | None,
    ) -> None:
        self._transport = exchange
        self._tokens = tokens
        self._budget = budget
        self._clock = clock
        self._operator = operator
        self._credential_status = credential_status
        self._reported_at: datetime | None = None

    def get(
        self, path: str, *, purpose: Purpose = Purpose.READ, params: Mapping[str, str | int] | None = None
    ) -> Call:
        bounds = self._transport.timeouts
        return Call(
            method="GET",
            path=path,
            name=f"GET {path}",
            purpose=purpose,
            params=params or {},
            read_s=bounds.read_s,
            total_s=bounds.total_s,
        )

    async def list(self, path: str, max_pages: int, purpose: Purpose, filters: Mapping[str, str]) -> Rows:
        async def page(number: int) -> JsonIn:
            params: dict[str, str | int] = {**filters, "page": number, "perPage": PER_PAGE}
            return await self.ask(self.get(path, purpose=purpose, params=params))

        return await all_pages(page, max_pages=max_pages)

    async def ask(self, call: Call, still_allowed: Callable[[], bool] | None = None) -> JsonIn:
        """Sends the call; on 401 once more with a new token. Only if `still_allowed` holds then."""
        try:
            return await self._asked(call, still_allowed)
        except Unauthorized as error:
            await self._report_refusal(str(error))
            raise
        except Refused as error:
            if error.status == 403 and call.path.startswith("/charges") and self._is_new(call):
                await self._report_refusal(str(error))
            raise

    def _is_new(self, call: Call) -> bool:
        """Whether this refusal may report a new problem. Every refusal does, except repeated ones of a single
        charge."""
        now, before = self._clock.now(), self._reported_at
        if not call.path.startswith("/charges/"):
            return True
        if before is not None and now - before < RECHECK_AFTER:
            return False
        self._reported_at = now
        return True

    async def _asked(self, call: Call, still_allowed: Callable[[], bool] | None) -> JsonIn:
        await self._take(call)
        token = await self._tokens.current()
        answer: Answer = await self._transport.send(call, access=token.access, may_send=still_allowed)
        if outcome_of(answer.status) is Outcome.UNAUTHORIZED:
            token = await self._tokens.after_refusal(token)
            await self._take(call)
            answer = await self._transport.send(call, access=token.access, may_send=still_allowed)
        return read_answer(answer, replace(call, secrets=(*call.secrets, token.access)))

    async def agreed(self, limit: int | None, window_s: int | None) -> None:
        """Counts with a quota that Monta names for the account. Without both figures nothing changes."""
        if limit and window_s:
            await self._budget.agreed(self._operator, limit, window_s)

    async def _take(self, call: Call) -> None:
        retry_at = await self._budget.take(self._operator, call.purpose, self._clock.now())
        if retry_at is not None:
            raise QuotaExceeded(f"{call.name} not sent: no budget left", retry_at=retry_at, by_monta=False)

    async def _report_refusal(self, why: str) -> None:
        if self._credential_status is not None:
            await self._credential_status.refused(self._operator, why, self._clock.now())
