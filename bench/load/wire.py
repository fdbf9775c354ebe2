"""Builds HTTP requests and Monta's deliveries as bytes; used by the load generator and by the rig."""

import hashlib
import hmac
from datetime import UTC, datetime

ENTRY = (
    b'{"entityType":"charge","entityId":"%(id)d","eventType":"updated","eventTime":"%(at)s","payload":{"id":%(id)d,'
    b'"humanReadableId":"H%(id)d","type":"external","state":"charging","startSource":"api","failureReason":null,'
    b'"stopReason":null,"note":null,"partnerExternalId":"%(session)s","partnerCustomPayload":null,"smartChargeId":null,'
    b'"vehicleId":null,"vid":null,"emaidProviderId":"","protocolData":{},"createdAt":"%(began)s","updatedAt":"%(at)s",'
    b'"cablePluggedInAt":"%(began)s","startedAt":"%(began)s","stoppedAt":null,"fullyChargedAt":null,"releasedAt":null,'
    b'"failedAt":null,"timeoutAt":null,"completedAt":null,"consumedKwh":%(kwh).3f,"kwhLimit":%(limit)s,"socLimit":null,'
    b'"kwhPerHour":[{"time":"%(began)s","value":%(kwh).3f}],"startMeterKwh":8123.4,"endMeterKwh":null,'
    b'"averageCo2PerKwh":null,"averageRenewablePerKwh":null,"price":%(kwh).2f,"priceLimit":null,'
    b'"averagePricePerKwh":1.0,"cost":0.1,"priceGroupId":25,"costPriceGroupId":null,"paymentMethod":"payment",'
    b'"currency":{"identifier":"EUR","name":"Euro","decimals":2},"priceBreakdown":[],"costBreakdown":[],'
    b'"user":{"id":10,"displayName":"API charge"},"chargePointKw":300,"siteId":null,"payingTeam":{"id":14,'
    b'"publicName":"Team 14","operatorId":7},"operator":{"id":7,"name":"Nordlade","identifier":"nordlade"}}}'
)
"""A webhook entry of about 1.5 kB, with the fields of Monta's Charge object; the price is 1 EUR a kWh."""


def when(epoch_s: float) -> bytes:
    """An RFC 3339 time in UTC with milliseconds, as Monta writes it."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds")[:-6].encode() + b"Z"


def delivery(entries: list[bytes], epoch_s: float) -> bytes:
    return b'{"entries":[%s],"pending":0,"timestamp":%d}' % (b",".join(entries), int(epoch_s * 1000))


def signature(secret: str, body: bytes) -> bytes:
    return b"sha1=" + hmac.digest(secret.encode(), body, hashlib.sha1).hex().encode()


def request(
    method: str, path: str, body: bytes = b"", *, key: str = "", extra: tuple[bytes, ...] = ()
) -> bytes:
    """A whole request on a connection that stays open."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"host: 127.0.0.1", *extra]
    if key:
        lines.append(b"authorization: Bearer " + key.encode())
    if body:
        lines += [b"content-type: application/json", b"content-length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def signed(path: str, secret: str, body: bytes) -> bytes:
    """A delivery of Monta's, signed."""
    return request("POST", path, body, extra=(b"x-monta-signature: " + signature(secret, body),))
