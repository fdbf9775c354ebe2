"""Sends a test event to an endpoint now, whatever else it has."""

from app.alerting.outlet import NotDelivered
from app.flows.context import Context
from app.flows.events.manage_endpoints import address_of
from app.flows.events.send_events import EventOutlet, event_body

TEST_TYPE = "endpoint.test"


async def try_endpoint(context: Context, outlet: EventOutlet, endpoint_id: str) -> str | None:
    """Sends `endpoint.test` once, signed as events are. Returns why it was not taken; None: it was.

    Raises EndpointUnknown, SecretUnreadable.
    """
    endpoint, secrets = await address_of(context, endpoint_id)
    now = context.clock.now()
    body = event_body(TEST_TYPE, now, b'{"endpoint_id":"%b"}' % endpoint_id.encode())
    try:
        await outlet.send(endpoint.url, secrets.all, context.ids.new("evt"), now, body)
    except NotDelivered as error:
        return str(error)
    return None
