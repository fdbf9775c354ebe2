"""Endpoints for webhooks: the configuration, the log, a signature's explanation. There is one configuration."""

import re
from collections.abc import Mapping, Sequence

from app.simulator.http.answers import Answer, Call, bad_request, json_answer, not_found
from app.simulator.http.fields import body_object, mapping, path_id, query_choice, query_flag, required, text
from app.simulator.http.lists import page
from app.simulator.site.site import Site
from app.simulator.webhooks.outbox import Entry, Outbox, WebhookConfig, signature
from app.simulator.wire import JsonObject, JsonValue, NotJson, dumps, loads

EVENT_TYPES = frozenset(
    {
        "charges",
        "charge-points",
        "charge-points-protocol-updates",
        "sites",
        "users",
        "team-members",
        "teams",
        "installer-jobs",
        "wallet-transactions",
        "price-groups",
        "subscriptions",
        "plans",
        "charge-auth-tokens",
        "reports",
        "ocpp-messages",
    }
)
_URL = re.compile(r"https://(?!(.*monta\.com?)).*")
_PLAIN = re.compile(r"http://.+")
_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])([:/].*)?")
_STATUSES = frozenset({"pending", "completed", "failed"})


class WebhookEndpoints:
    """Endpoints of webhooks. Each takes the call and the id in its path, and answers. Refusals are raised."""

    def __init__(self, site: Site, outbox: Outbox) -> None:
        self._site = site
        self._outbox = outbox

    def read_config(self, _call: Call, _id: str) -> Answer:
        if self._outbox.config is None:
            raise not_found("webhook config")
        return json_answer(_config_json(self._outbox.config))

    def put_config(self, call: Call, _id: str) -> Answer:
        body = body_object(call)
        for name in ("webhookUrl", "webhookSecret", "eventTypes"):
            required(body, name)
        self._outbox.config = config = WebhookConfig(
            url=self._url(body),
            secret=_secret(body),
            event_types=_event_types(body),
            headers=_custom_headers(body),
            team_ids=_team_ids(body),
        )
        return json_answer(_config_json(config))

    def delete_config(self, _call: Call, _id: str) -> Answer:
        if self._outbox.config is None:
            raise not_found("webhook config")
        self._outbox.config = None
        self._outbox.waiting.clear()
        return Answer(204)

    def list_entries(self, call: Call, _id: str) -> Answer:
        """Entries of the past 24 hours, newest first."""
        status = query_choice(call, "status", _STATUSES)
        self._outbox.prune()
        entries = reversed(self._outbox.log.values())
        rows = [entry for entry in entries if status in {None, entry.status.value}]
        return page(call, rows, self._outbox.entry_json)

    def read_entry(self, _call: Call, entry_id: str) -> Answer:
        self._outbox.prune()
        entry: Entry | None = self._outbox.log.get(path_id(entry_id))
        if entry is None:
            raise not_found(f"webhook entry {entry_id}")
        return json_answer(self._outbox.entry_json(entry))

    def explain_signature(self, call: Call, _id: str) -> Answer:
        """Explains a signature: the compact form of the payload is signed."""
        payload = dumps(_objects(call))
        secret = call.query.get("webhookSecret") or (self._outbox.config and self._outbox.config.secret)
        if not secret:
            raise bad_request("webhookSecret: there is no webhook config to take it from")
        digest = signature(secret, payload)
        shown = secret if query_flag(call, "includeSecrets") else "***"
        return json_answer(
            {
                "receivedPayloadString": payload.decode(),
                "receivedPayloadBytes": payload.hex(),
                "webhookSecret": shown,
                "webhookSecretBytes": shown.encode().hex(),
                "signatureAlgorithm": "HmacSHA1",
                "signature": digest,
                "signatureWithPrefix": f"sha1={digest}",
            }
        )

    def _url(self, body: JsonObject) -> str:
        url = text(body, "webhookUrl") or ""
        config = self._site.config
        loopback = config.allows_http_loopback and _LOOPBACK.fullmatch(url)
        plain = config.allows_plain_http and _PLAIN.fullmatch(url)
        if len(url) > 191 or not (_URL.fullmatch(url) or loopback or plain):
            raise bad_request("webhookUrl: must be an https URL of at most 191 characters, not of Monta")
        return url


def _objects(call: Call) -> Sequence[JsonValue]:
    """The body as a list of JSON objects."""
    try:
        values = loads(call.body)
    except NotJson as error:
        raise bad_request(f"Invalid JSON: {error}") from error
    if not isinstance(values, Sequence) or not all(isinstance(value, Mapping) for value in values):
        raise bad_request("The body must be a list of JSON objects")
    return values


def _secret(body: JsonObject) -> str:
    secret = text(body, "webhookSecret") or ""
    if not 16 <= len(secret) <= 191:
        raise bad_request("webhookSecret: must have 16 to 191 characters")
    return secret


def _event_types(body: JsonObject) -> tuple[str, ...]:
    names = _texts(body, "eventTypes", 512)
    unknown = [name for name in names if name not in EVENT_TYPES]
    if unknown:
        raise bad_request(f"eventTypes: unknown {', '.join(unknown[:5])}")
    return names


def _custom_headers(body: JsonObject) -> dict[str, str]:
    custom = mapping(body, "customHeaders")
    if custom is None:
        return {}
    headers = mapping(custom, "headers")
    if headers is None:
        raise bad_request("customHeaders.headers: must not be null")
    if len(headers) > 5:
        raise bad_request("customHeaders: at most 5 headers")
    if any(not name.lower().startswith("x-") for name in headers):
        raise bad_request("customHeaders: names must start with X-")
    for name in headers:
        required(headers, name)
    return {name: text(headers, name) or "" for name in headers}


def _team_ids(body: JsonObject) -> tuple[int, ...] | None:
    ids = body.get("teamIds")
    if ids is None:
        return None
    if not isinstance(ids, Sequence) or isinstance(ids, str) or len(ids) > 100:
        raise bad_request("teamIds: must be a list of at most 100 ids")
    return tuple(_whole(team_id) for team_id in ids)


def _whole(value: JsonValue) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad_request("teamIds: must hold whole numbers")
    return value


def _texts(body: JsonObject, name: str, most: int) -> tuple[str, ...]:
    values = body.get(name)
    if not isinstance(values, Sequence) or isinstance(values, str | Mapping) or len(values) > most:
        raise bad_request(f"{name}: must be a list of at most {most} strings")
    found = tuple(value for value in values if isinstance(value, str))
    if len(found) != len(values):
        raise bad_request(f"{name}: must hold strings")
    return found


def _config_json(config: WebhookConfig) -> JsonObject:
    shown: dict[str, JsonValue] = {
        "webhookUrl": config.url,
        "webhookSecret": config.secret,
        "eventTypes": list(config.event_types),
    }
    if config.team_ids is not None:
        shown["teamIds"] = list(config.team_ids)
    if config.headers:
        shown["customHeaders"] = {"headers": config.headers}
    return shown
