"""Every environment variable: typed, frozen, secrets masked. All problems are reported in one message."""

import os
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from app.domain.limit.policy import SmallAuthorizations
from app.domain.units.egress import Egress, is_loopback
from app.domain.units.frozen import frozen
from app.domain.units.secret_strength import weakness
from app.store.db.connect import DatabaseUrlInvalid, asyncpg_url

PREFIX = "TAPWATT_"
SECRETS_FOLDER = Path("/run/secrets")
MAKE_KEY = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'


class SettingsWrong(Exception):
    """Settings are missing or wrong. The message names every such variable, and says what to do."""


class Secret:
    """A text that no repr shows."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('**********')"


def _database_problem(url: str) -> str | None:
    try:
        asyncpg_url(url)
    except DatabaseUrlInvalid as error:
        return str(error)
    except ValueError:
        return "is not a database URL: write postgresql://user:password@host:5432/name"
    return None


def _key_problem(key: str) -> str | None:
    if not key.isprintable():
        return "holds a line break or an invisible character: write it as one line of plain text"
    why = weakness(key)
    return why and f"{why}: make one with {MAKE_KEY}"


def _signature_problem(secret: str) -> str | None:
    kind, _, key = secret.partition("_")
    try:
        long_enough = kind == "whsec" and len(b64decode(key, validate=True)) >= 24
    except ValueError:
        long_enough = False
    return None if long_enough else "must be whsec_ and 24 bytes or more in base64, as Standard Webhooks say"


def _mail_server_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("smtp", "smtps") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    return None if sound else "must be smtps://user:password@host:465, or smtp://host:587 (with STARTTLS)"


ADDRESS = "[^@\\s,<>]+@[^@\\s,<>]+"


def url_problem(url: str, *, allow_plain_http: bool) -> str | None:
    """Why a URL cannot be used for requests; None when it can."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "must be a full URL such as https://example.com/path"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must be a full URL such as https://example.com/path"
    if parts.query or parts.fragment or "@" in parts.netloc:
        return "must have no query, fragment, user name or password in it"
    if not url.isprintable() or " " in url:  # urlsplit leaves line breaks and tabs out
        return "must have no spaces and no control characters in it"
    if parts.scheme == "http" and not (allow_plain_http or is_loopback(parts.hostname)):
        return "must begin with https:// (plain http only for loopback, or with TAPWATT_ALLOW_PLAIN_HTTP=1)"
    return None


def outgoing_url_problem(url: str, egress: Egress) -> str | None:
    """Why requests may not be sent to a URL; None when they may. Its addresses are judged when it is connected to."""
    problem = url_problem(url, allow_plain_http=egress.anywhere)
    return problem or egress.problem(urlsplit(url).hostname or "")


def _egress_of(values: Mapping[str, Any]) -> Egress:
    hosts = (host.strip().lower().rstrip(".") for host in (values.get("egress_hosts") or "").split(","))
    return Egress(frozenset(host for host in hosts if host), anywhere=bool(values.get("allow_plain_http")))


S = TypeVar("S", bound="Settings")
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
PerMinute = Annotated[int, Meta(ge=1, le=100_000_000)]
QUIET_WINDOW_S = 120.0
SEND_GUARD_S = 5.0
START_TIMEOUT_S = 30.0


def _networks_problem(given: str) -> str | None:
    for each in given.split(","):
        try:
            if each.strip():
                ip_network(each.strip())
        except ValueError:
            return "must be addresses or networks, as in 10.0.0.5,10.1.0.0/16"
    return None


def _pauses_problem(given: str) -> str | None:
    try:
        pauses = [int(each) for each in given.split(",")]
    except ValueError:
        pauses = []
    if not pauses or pauses[0] < 1 or pauses != sorted(pauses) or pauses[-1] > 31 * 86_400:
        return "must be whole seconds that grow, as in 60,300,1800; the last pause repeats"
    return None


SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""What people write beside 1, 0, true and false."""

PROBLEMS: Mapping[str, Callable[[str], str | None]] = {
    "database_url": _database_problem,
    "owner_database_url": _database_problem,
    "listen_database_url": _database_problem,
    "secret_key": _key_problem,
    "trusted_proxies": _networks_problem,
    "capture_retry_s": _pauses_problem,
    "alert_webhook_secret": _signature_problem,
    "smtp_url": _mail_server_problem,
}
"""Why a variable's text cannot be used, beyond its type and bounds."""


@frozen(kw_only=True)
class Settings:
    """Defaults are those of the table in docs/settings.md."""

    database_url: Secret | None = None
    owner_database_url: Secret | None = None
    listen_database_url: Secret | None = None
    data_dir: Path = Path(".tapwatt")
    secret_key: Secret | None = None
    old_secret_keys: Secret | None = None
    allow_plain_http: bool = False
    public_url: str | None = None
    docs: bool = True
    security_contact: Annotated[str, Meta(pattern=r"^(mailto:|https://)[!-~]+\Z")] | None = None
    egress_hosts: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]+( *, *[A-Za-z0-9._:-]+)*\Z")] | None = None
    trusted_proxies: str | None = None

    start_deadline_s: Annotated[float, Meta(ge=1, le=3600)] = 300
    start_timeout_s: Annotated[float, Meta(gt=0, le=120)] = START_TIMEOUT_S
    quiet_window_s: Annotated[float, Meta(ge=1, le=3600)] = QUIET_WINDOW_S
    send_guard_s: Annotated[float, Meta(gt=0, le=60)] = SEND_GUARD_S
    lease_s: Annotated[float, Meta(ge=1, le=600)] = 30
    silence_s: Seconds = 60
    stop_retry_s: Annotated[float, Meta(gt=0, le=600)] = 10
    settle_poll_s: Annotated[float, Meta(gt=0, le=600)] = 10
    stop_latency_s: Annotated[float, Meta(ge=0, le=600)] = 15
    capture_retry_s: str = "60,300,1800,7200,21600,86400"
    capture_retry_margin_s: Annotated[float, Meta(ge=0, le=86_400)] = 120
    small_authorizations: SmallAuthorizations = SmallAuthorizations.REFUSE

    calls_per_minute: PerMinute = 1_200
    operator_calls_per_minute: PerMinute = 60_000
    new_holds_per_minute: PerMinute = 120
    failed_keys_per_minute: PerMinute = 60
    connections: Annotated[int, Meta(ge=10, le=100_000)] = 4_000
    connections_per_address: Annotated[int, Meta(ge=10, le=100_000)] = 1_000

    inbox_days: Annotated[int, Meta(ge=2, le=3650)] = 14
    card_days: Annotated[int, Meta(ge=30, le=3650)] = 540
    delivery_days: Annotated[int, Meta(ge=2, le=3650)] = 14
    event_days: Annotated[int, Meta(ge=8, le=90)] = 14
    alert_webhook_secret: Secret | None = None
    alert_webhook_url: str | None = None
    smtp_url: Secret | None = None
    alert_email_from: Annotated[str, Meta(pattern=rf"^{ADDRESS}\Z")] | None = None
    alert_email_to: Annotated[str, Meta(pattern=rf"^{ADDRESS}(, *{ADDRESS})*\Z")] | None = None
    watcher_concurrency: Annotated[int, Meta(ge=1, le=500)] = 64
    metrics_port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    watcher_metrics_port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    log_level: Annotated[str, Meta(pattern=r"^(debug|info|warning|error)\Z")] = "info"
    log_format: Annotated[str, Meta(pattern=r"^(json|text)\Z")] = "json"

    clock_speed: Annotated[float, Meta(ge=1, le=1000)] = 1
    clock_origin: datetime | None = None

    @property
    def egress(self) -> Egress:
        """The rule for outgoing HTTP."""
        return _egress_of({"egress_hosts": self.egress_hosts, "allow_plain_http": self.allow_plain_http})


@frozen(kw_only=True)
class KeyedSettings(Settings):
    """For every process that reads or writes operators' secrets."""

    secret_key: Secret

    @property
    def older_secret_keys(self) -> list[str]:
        """Earlier keys that secrets may still be encrypted with. Separated by commas or lines."""
        given = self.old_secret_keys.get_secret_value() if self.old_secret_keys else ""
        return [key.strip() for key in given.replace("\n", ",").split(",") if key.strip()]


def load_settings() -> KeyedSettings:
    """Read the environment, `.env` and secret files. Raises SettingsWrong with every problem at once."""
    return _loaded(KeyedSettings)


def load_settings_without_key() -> Settings:
    """For what needs no secrets: migrations and the simulator. Raises SettingsWrong."""
    return _loaded(Settings)


def _loaded(kind: type[S]) -> S:
    wrong: dict[str, str] = {}
    given = _secret_files(kind, wrong) | _variables(_env_file()) | _variables(os.environ)
    return settings_from(given, kind, wrong)


def _variables(given: Mapping[str, str]) -> dict[str, str]:
    """Returns our variables by their settings' names. An empty one is none."""
    ours = ((name.upper(), text) for name, text in given.items())
    return {
        name.removeprefix(PREFIX).lower(): text for name, text in ours if name.startswith(PREFIX) and text
    }


def _env_file() -> dict[str, str]:
    if not Path(".env").is_file():
        return {}
    from dotenv import dotenv_values  # few processes have such a file

    return {name: text for name, text in dotenv_values(".env", encoding="utf-8").items() if text is not None}


def _secret_files(kind: type["Settings"], wrong: dict[str, str]) -> dict[str, str]:
    """Reads the files that a container or systemd mounts. Adds to `wrong` why one cannot be read."""
    found: dict[str, str] = {}
    for each in fields(kind) if SECRETS_FOLDER.is_dir() else ():
        path = SECRETS_FOLDER / f"{PREFIX}{each.name.upper()}"
        try:
            found[each.name] = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            if path.is_symlink():
                wrong[each.name] = _unreadable("it leads to no file")
        except OSError as error:
            wrong[each.name] = _unreadable(error.strerror)
        except UnicodeError:
            wrong[each.name] = _unreadable("it is no UTF-8 text")
    return found


def _unreadable(why: str | None) -> str:
    return f"its file in {SECRETS_FOLDER} cannot be read: {why}"


def settings_from(given: Mapping[str, str], kind: type[S], wrong: Mapping[str, str] | None = None) -> S:
    """Reads settings from texts by the settings' names. Raises SettingsWrong.

    `wrong`: what is known to be wrong already.
    """
    problems, values = dict(wrong or {}), {}
    hints = get_type_hints(kind, include_extras=True)
    for each in fields(kind):
        if each.name in problems:
            continue
        try:
            values[each.name] = _value(each.name, given.get(each.name), hints[each.name], each.default)
        except ValueError as error:
            problems[each.name] = str(error)
    values |= _fitting_defaults(values, given)
    problems = _conflicts(values) | problems
    if problems:
        lines = [
            f"  {PREFIX}{e.name.upper()}: {problems[e.name]}" for e in fields(kind) if e.name in problems
        ]
        raise SettingsWrong("The settings are not right:\n" + "\n".join(lines))
    return kind(**values)


def _value(name: str, text: str | None, hint: Any, default: Any) -> Any:
    """Reads one. Raises ValueError with what it must be, and without what it was."""
    if text is None:
        if default is MISSING:
            raise ValueError(
                f"is missing: it encrypts the operators' secrets; make one with {MAKE_KEY} and keep it"
            )
        return default
    if hint is bool:
        text = SWITCHES.get(text.lower(), text)
    try:
        read = msgspec.convert(text, hint, strict=False, dec_hook=lambda kind, given: kind(given))
    except msgspec.ValidationError as error:
        if hint is SmallAuthorizations:
            raise ValueError(f"must be one of {', '.join(SmallAuthorizations)}") from None
        must = re.sub(r", got .*| \| null", "", str(error).removeprefix("Expected "))
        raise ValueError(f"must be {must}") from None
    problem = PROBLEMS[name](text) if name in PROBLEMS else None
    if problem or read != read:  # noqa: PLR0124  not a number
        raise ValueError(problem or "must be a number")
    return read


def _fitting_defaults(values: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, float]:
    """Shortens the default send guard and timeout with the quiet window. They must fit into it."""
    quiet_s, guard_s = values.get("quiet_window_s"), values.get("send_guard_s")
    if quiet_s is None or guard_s is None:
        return {}
    if "send_guard_s" not in given:
        guard_s = min(SEND_GUARD_S, quiet_s / 4)
    if "start_timeout_s" in given:
        return {"send_guard_s": guard_s}
    return {"send_guard_s": guard_s, "start_timeout_s": min(START_TIMEOUT_S, max(quiet_s - guard_s, 0.1))}


def _conflicts(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with variables beside others, of those that are right alone."""
    found = {
        "public_url": _public_url_problem(values),
        "alert_webhook_url": _alert_url_problem(values),
        "alert_email_to": _mail_problem(values),
        "send_guard_s": _windows_problem(values),
        "clock_origin": _clock_problem(values),
    }
    return {name: problem for name, problem in found.items() if problem}


def _public_url_problem(values: Mapping[str, Any]) -> str | None:
    url = values.get("public_url")
    return url and url_problem(url, allow_plain_http=bool(values.get("allow_plain_http")))


def _alert_url_problem(values: Mapping[str, Any]) -> str | None:
    url = values.get("alert_webhook_url")
    if url and values.get("alert_webhook_secret") is None:
        return f"needs {PREFIX}ALERT_WEBHOOK_SECRET, which signs what is sent there"
    return url and outgoing_url_problem(url, _egress_of(values))


def _mail_problem(values: Mapping[str, Any]) -> str | None:
    if values.get("alert_email_to") and not (values.get("smtp_url") and values.get("alert_email_from")):
        return f"needs {PREFIX}SMTP_URL and {PREFIX}ALERT_EMAIL_FROM"
    return None


def _windows_problem(values: Mapping[str, Any]) -> str | None:
    quiet_s, guard_s, timeout_s = map(values.get, ("quiet_window_s", "send_guard_s", "start_timeout_s"))
    if quiet_s is None or guard_s is None or timeout_s is None or quiet_s >= guard_s + timeout_s:
        return None
    return (
        f"with {PREFIX}START_TIMEOUT_S it must fit into {PREFIX}QUIET_WINDOW_S, or a second start could be sent while"
        " the first is still under way"
    )


def _clock_problem(values: Mapping[str, Any]) -> str | None:
    if values.get("clock_origin") is None and values.get("clock_speed", 1) != 1:
        return f"is needed with {PREFIX}CLOCK_SPEED (demo only)"
    return None
