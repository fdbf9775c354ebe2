"""Transport from httpx into the simulator without a socket, with the errors that a socket would give."""

from collections.abc import Awaitable, Callable

import httpx

from app.simulator.faults.schedule import Unreachable
from app.simulator.http.asgi import BASE
from app.simulator.simulator import Simulator


class SimulatorTransport(httpx.AsyncBaseTransport):
    """Like httpx.ASGITransport, but no answer is a connect error, and an answer that ends before its announced
    length is a protocol error."""

    def __init__(self, simulator: Simulator) -> None:
        self._inner = httpx.ASGITransport(simulator.app)
        self.meanwhile: dict[str, Callable[[], Awaitable[None]]] = {}
        """What happens before a request arrives at Monta, once; by its method and path, `GET /charges`."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        happens = self.meanwhile.pop(f"{request.method} {request.url.path.removeprefix(BASE)}", None)
        if happens is not None:
            await happens()
        try:
            response = await self._inner.handle_async_request(request)
        except Unreachable as error:
            raise httpx.ConnectError(str(error), request=request) from error
        body = await response.aread()
        announced = int(response.headers.get("content-length", len(body)))
        if len(body) < announced:
            raise httpx.RemoteProtocolError("peer closed connection within the body", request=request)
        return response
