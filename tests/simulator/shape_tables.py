"""Monta's objects in our own words: each field with its type and whether it may be null, written by hand.

A type is one of the words of `shape_check`, the name of another table, a list of one type, or a set of words (a
closed enumeration). `?` behind a type: null is allowed; it never stands behind an object, because a strict
reading of the reference allows null for plain types only. `!` before a field: it may not be left out.
"""

from typing import Any

Table = dict[str, Any]
CHARGE_STATES = {"paying", "reserved", "starting", "charging", "stopping", "paused"} | {
    "scheduled",
    "stopped",
    "releasing",
    "released",
    "completed",
    "other",
}
POINT_STATES = {"available", "error", "disconnected", "passive", "maintenance", "other", "busy"} | {
    f"busy-{how}" for how in ("blocked", "charging", "non-charging", "non-released", "reserved", "scheduled")
}
OCPP_STATES = {"available", "online", "not-connected", "error", "offline", "occupied", "preparing"} | {
    *("paused-ev", "paused-evse", "charging", "suspended-evse", "suspended-ev", "finishing", "reserved"),
    *("unavailable", "faulted", "idle", "ev-connected", "unknown"),
}
FEES = {"starting", "charging", "idle", "minute"}
PARTS = {"tariff", "fixed-kwh", "fee", "starting-fee", "duration-fee", "fixed-charging-fee", "idle-fee"} | {
    "adjustment",
    "other",
}


def _all(names: str, kind: object) -> Table:
    return dict.fromkeys(names.split(), kind)


TABLES: dict[str, Table] = {
    "Charge": {
        "id": "int64",
        "!type": {"external", "operator", "sponsored"},
        "!state": CHARGE_STATES,
        "paymentMethod": {"free", "team-has-fund", "team-has-auto-refill", "source", "payment"},
        "!user": "User",
        "!publicChargePoint": "PublicPoint",
        "!protocolData": "object",
        "currency": "Currency",
        "payingTeam": "PayingTeam",
        "operator": "Operator",
        "chargeAuth": "Auth",
        "soc": "Soc",
        "genericPaymentSession": "PaymentSession",
        "partnerCustomPayload": "object?",
    }
    | _all("!humanReadableId !emaidProviderId", "text")
    | _all("!createdAt !updatedAt", "date")
    | _all("cablePluggedInAt startedAt stoppedAt fullyChargedAt releasedAt failedAt", "date?")
    | _all("timeoutAt completedAt", "date?")
    | _all("chargePointId priceGroupId", "int64")
    | _all("sponsoredChargePointId costPriceGroupId memberCostPriceGroupId siteId", "int64?")
    | _all("promotionCodeId smartChargeId vehicleId", "int64?")
    | _all("startSource failureReason stopReason note partnerExternalId vid", "text?")
    | _all("consumedKwh kwhLimit startMeterKwh endMeterKwh price priceLimit cost socLimit", "number?")
    | _all("averagePricePerKwh averageCo2PerKwh averageRenewablePerKwh chargePointKw", "number?")
    | _all("!kwhPerHour !kwhPerMaxResolution !priceBreakdown !costBreakdown", ["Sample"]),
    "Sample": {"!time": "date", "value": "number"},
    "User": {"!id": "int64", "!displayName": "text"},
    "PayingTeam": {"id": "int64", "!publicName": "text", "operatorId": "int64"},
    "Operator": {
        "id": "int64",
        "!name": "text",
        "!identifier": "text",
        "partnerId": "int64?",
        "vatNumber": "text?",
    },
    "Currency": {"!identifier": "text", "!name": "text", "decimals": "int32"},
    "Auth": {"!type": {"vehicleId", "rfid", "app"}, "!id": "text", "partnerExternalId": "text?"},
    "Soc": {"percentage": "number", "!source": {"charge-point", "vehicle"}},
    "PaymentSession": _all("!provider !externalId", "text")
    | _all("partnerExternalId cardBrand cardLast4", "text?")
    | {"amount": "number?"},
    "PublicPoint": _all("!evseId !chargePointOperatorName", "text")
    | _all("id chargePointOperatorId", "int64")
    | _all("name brandName modelName", "text?")
    | {"!location": "Location", "maxKw": "number?", "deletedAt": "date?"},
    "Location": {"coordinates": "Coordinates", "addressLabel": "text?", "address": "Address"},
    "Coordinates": {"latitude": "number", "longitude": "number"},
    "Address": _all("!address1 !zip !city", "text") | {"country": "text?"},
    "Point": {
        "!visibility": {"private", "public"},
        "type": {"ac", "dc"},
        "state": POINT_STATES,
        "integrationType": {"oicp", "ocpi", "ocpp", "other"},
        "operator": "Operator",
        "!location": "Location",
        "!connectors": ["Connector"],
        "!deeplinks": "Links",
        "!protocolData": "PointProtocol",
        "!evseId": "text",
        "reservationTime": "int32?",
        "occupied": "flag?",
        "partnerCustomPayload": "object?",
    }
    | _all("!id !teamId", "int64")
    | _all("siteId priceGroupId costGroupId roamingPriceGroupId sponsoredPriceGroupId", "int64?")
    | _all("!createdAt !updatedAt", "date")
    | _all("deletedAt activeAt lastConnectedAt disconnectedAt", "date?")
    | _all("serialNumber name note operatorNote meterId brandName modelName firmwareVersion", "text?")
    | _all("partnerExternalId", "text?")
    | _all("maxKW maxKw lastMeterReadingKwh", "number?")
    | _all("!cablePluggedIn !isActive !reservable !roaming !showOnMap", "flag"),
    "Connector": {"id": "int64", "!identifier": "text", "!name": "text"},
    "Links": {"!app": "text", "!web": "text"},
    "PointProtocol": {"ocpp": "Ocpp"},
    "Ocpp": {"status": OCPP_STATES, "updatedAt": "date?"},
    "PriceGroup": {
        "!id": "int64",
        "teamId": "int64?",
        "!name": "text",
        "default": "flag",
        "!type": {
            "public",
            "member",
            "sponsored",
            "cost",
            "roaming",
            "reimbursement",
            "member_cost",
            "other",
        },
        "!masterPrice": "Pricing",
        "!tariffs": ["Pricing"],
        "fees": ["Pricing"],
        "!appliedTo": "Applied",
        "!createdAt": "date",
        "updatedAt": "date?",
    }
    | _all("teamMemberCount chargePointCount", "int32?"),
    "Applied": _all("!chargePoints !sites !teamMembers", ["int64"]),
    "Pricing": {
        "!id": "int64",
        "!type": {"kwh", "min", "spot", "tariff"} | FEES,
        "description": "text?",
        "!price": "Money",
        "feePriceMax": "Money",
        "percentage": "number?",
        "applyAfterMinutes": "int32?",
        "additional": ["object"],
        "!updatedAt": "date",
    }
    | _all("!master !dynamicPricing !endAtFullyCharged !vat", "flag")
    | _all("tariffId tagId", "int64?")
    | _all("from to", "date?"),
    "Money": {"!amount": "int64", "!currency": "MoneyCurrency", "!locale": "text"},
    "MoneyCurrency": {
        "id": "int64?",
        "master": "flag",
        "!identifier": "text",
        "name": "text",
        "!decimals": "int32",
    },
    "Forecast": {
        "!operator": "Operator",
        "!currency": "Currency",
        "!priceGroup": "PriceGroup",
        "!forecasts": ["Hour"],
    },
    "Hour": {"!time": "date", "!pricePerKwh": "int64", "!name": "text"},
    "Breakdown": {"!chargeId": "int64", "!priceBreakdown": "Detailed", "!costBreakdown": "Detailed"},
    "Detailed": {
        "!summary": "Summary",
        "!currency": "Currency",
        "!breakdown": ["BreakdownHour"],
        "!fees": ["Part"],
        "!adjustments": ["Part"],
    },
    "Summary": _all(
        "!totalMasterPrice !totalSecondaryPrice !totalFees !totalAdjustments !totalPrice", "int64"
    )
    | {"totalDiscount": "int64?"},
    "BreakdownHour": _all("!subTotalPrice !subTotalMasterPrice !subTotalSecondaryPrice", "int64")
    | _all("from to", "date?")
    | {"!components": ["Part"]},
    "Part": {"!type": PARTS, "!price": "int64", "!description": "text", "!masterPricing": "flag"},
    "Consumption": {
        "chargeId": "int64",
        "consumptionPeriodSizeInSeconds": "int64",
        "kwhConsumption": ["Sample"],
    },
    "Receipt": {
        "!id": "int64",
        "!version": "int64",
        "!totalAmount": "number",
        "currency": "Currency",
        "!entries": ["ReceiptLine"],
        "!vat": "number",
        "pdfUrl": "text?",
        "!createdAt": "date",
    },
    "ReceiptLine": {"!title": "text", "subTitle": "text?", "!amount": "number", "!subAmount": "number"},
    "Token": _all("!accessToken !refreshToken", "text")
    | _all("!accessTokenExpirationDate !refreshTokenExpirationDate", "date"),
    "Consumer": {
        "!name": "text",
        "operatorId": "int64",
        "!operatorIds": ["int64"],
        "!teamIds": ["int64"],
        "!clientId": "text",
        "!scopes": ["Scope"],
        "!createdAt": "date",
        "updatedAt": "date?",
    }
    | _all("rateLimit rateLimitIntervalInSeconds", "int64"),
    "WebhookConfig": _all("!webhookUrl !webhookSecret", "text")
    | {"!eventTypes": ["text"], "customHeaders": "Headers"},
    "Headers": {"!headers": "object"},
    "Entry": _all("id consumerId operatorId", "int64")
    | {"!eventType": {"charges", "charge-points"}, "!payload": "Event", "error": "EntryError"}
    | {"!status": {"pending", "completed", "failed"}, "!createdAt": "date", "updatedAt": "date?"},
    "EntryError": _all("errorCode errorMessage", "text?"),
    "Event": {
        "!entityType": {"charge", "charge-point"},
        "entityId": "text?",
        "!eventType": {"created", "updated", "deleted"},
        "eventTime": "date?",
        "payload": "object?",
    },
    "Explanation": _all("!receivedPayloadString !receivedPayloadBytes !webhookSecret", "text")
    | _all("!webhookSecretBytes !signatureAlgorithm !signature !signatureWithPrefix", "text"),
    "Page": {"!data": ["object"], "!meta": "Meta"},
    "Meta": _all("!itemCount !currentPage !perPage !totalPageCount", "int32") | {"!totalItemCount": "int64"},
    "Error": _all("!status !message !errorCode readableMessage", "text"),
}
