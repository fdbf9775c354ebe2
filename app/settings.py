"""Every environment variable: typed, frozen, secrets masked. All problems are reported in one message."""

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from app.domain.limit.policy import SmallAuthorizations
from app.domain.units.egress import Egress, is_loopback
from app.domain.units.secret_strength import weakness
from app.store.db.connect import DatabaseUrlInvalid, asyncpg_url

PREFIX = "TAPWATT_"
SECRETS_FOLDER = Path("/run/secrets")
MAKE_KEY = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'


class SettingsWrong(Exception):
    """Settings are missing or wrong. The message names every such variable, and says what to do."""


def _known_database(url: SecretStr) -> SecretStr:
    try:
        asyncpg_url(url.get_secret_value())
    except DatabaseUrlInvalid as error:
        raise ValueError(str(error)) from None
    except ValueError:
        raise ValueError("is not a database URL: write postgresql://user:password@host:5432/name") from None
    return url


def _strong(key: SecretStr) -> SecretStr:
    if not key.get_secret_value().isprintable():
        raise ValueError("holds a line break or an invisible character: write it as one line of plain text")
    why = weakness(key.get_secret_value())
    if why is not None:
        raise ValueError(f"{why}: make one with {MAKE_KEY}")
    return key


def _signs(secret: SecretStr) -> SecretStr:
    kind, _, key = secret.get_secret_value().partition("_")
    try:
        long_enough = kind == "whsec" and len(b64decode(key, validate=True)) >= 24
    except ValueError:
        long_enough = False
    if not long_enough:
        raise ValueError("must be whsec_ and 24 bytes or more in base64, as Standard Webhooks say")
    return secret


def _known_mail_server(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        sound = parts.scheme in ("smtp", "smtps") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("must be smtps://user:password@host:465, or smtp://host:587 (with STARTTLS)")
    return url


ADDRESS = "^[^@\\s,<>]+@[^@\\s,<>]+$"


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
Seconds = Annotated[float, Field(gt=0, le=86_400)]
PerMinute = Annotated[int, Field(ge=1, le=100_000_000)]
QUIET_WINDOW_S = 120.0
SEND_GUARD_S = 5.0
START_TIMEOUT_S = 30.0


def _networks(given: str) -> str:
    for each in given.split(","):
        try:
            if each.strip():
                ip_network(each.strip())
        except ValueError:
            raise ValueError("must be addresses or networks, as in 10.0.0.5,10.1.0.0/16") from None
    return given


def _growing(given: str) -> str:
    try:
        pauses = [int(each) for each in given.split(",")]
    except ValueError:
        pauses = []
    if not pauses or pauses[0] < 1 or pauses != sorted(pauses) or pauses[-1] > 31 * 86_400:
        raise ValueError("must be whole seconds that grow, as in 60,300,1800; the last pause repeats")
    return given


class Settings(BaseSettings):
    """Defaults are those of the table in docs/settings.md."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        secrets_dir=SECRETS_FOLDER if SECRETS_FOLDER.is_dir() else None,
        hide_input_in_errors=True,
    )

    database_url: Annotated[SecretStr, AfterValidator(_known_database)] | None = None
    owner_database_url: Annotated[SecretStr, AfterValidator(_known_database)] | None = None
    listen_database_url: Annotated[SecretStr, AfterValidator(_known_database)] | None = None
    data_dir: Path = Path(".tapwatt")
    secret_key: Annotated[SecretStr, AfterValidator(_strong)] | None = None
    old_secret_keys: SecretStr | None = None
    allow_plain_http: bool = False
    public_url: str | None = None
    docs: bool = True
    security_contact: Annotated[str, Field(pattern=r"^(mailto:|https://)[!-~]+$")] | None = None
    egress_hosts: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]+( *, *[A-Za-z0-9._:-]+)*$")] | None = None
    trusted_proxies: Annotated[str, AfterValidator(_networks)] | None = None

    start_deadline_s: Annotated[float, Field(ge=1, le=3600)] = 300
    start_timeout_s: Annotated[float, Field(gt=0, le=120)] = START_TIMEOUT_S
    quiet_window_s: Annotated[float, Field(ge=1, le=3600)] = QUIET_WINDOW_S
    send_guard_s: Annotated[float, Field(gt=0, le=60)] = SEND_GUARD_S
    lease_s: Annotated[float, Field(ge=1, le=600)] = 30
    silence_s: Seconds = 60
    stop_retry_s: Annotated[float, Field(gt=0, le=600)] = 10
    settle_poll_s: Annotated[float, Field(gt=0, le=600)] = 10
    stop_latency_s: Annotated[float, Field(ge=0, le=600)] = 15
    capture_retry_s: Annotated[str, AfterValidator(_growing)] = "60,300,1800,7200,21600,86400"
    capture_retry_margin_s: Annotated[float, Field(ge=0, le=86_400)] = 120
    small_authorizations: SmallAuthorizations = SmallAuthorizations.REFUSE

    calls_per_minute: PerMinute = 1_200
    operator_calls_per_minute: PerMinute = 60_000
    new_holds_per_minute: PerMinute = 120
    failed_keys_per_minute: PerMinute = 60
    connections: Annotated[int, Field(ge=10, le=100_000)] = 4_000
    connections_per_address: Annotated[int, Field(ge=10, le=100_000)] = 1_000

    inbox_days: Annotated[int, Field(ge=2, le=3650)] = 14
    card_days: Annotated[int, Field(ge=30, le=3650)] = 540
    delivery_days: Annotated[int, Field(ge=2, le=3650)] = 14
    event_days: Annotated[int, Field(ge=8, le=90)] = 14
    alert_webhook_secret: Annotated[SecretStr, AfterValidator(_signs)] | None = None
    alert_webhook_url: str | None = None
    smtp_url: Annotated[SecretStr, AfterValidator(_known_mail_server)] | None = None
    alert_email_from: Annotated[str, Field(pattern=ADDRESS)] | None = None
    alert_email_to: Annotated[str, Field(pattern=f"^{ADDRESS[1:-1]}(, *{ADDRESS[1:-1]})*$")] | None = None
    watcher_concurrency: Annotated[int, Field(ge=1, le=500)] = 64
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    watcher_metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    log_format: Annotated[str, Field(pattern="^(json|text)$")] = "json"

    clock_speed: Annotated[float, Field(ge=1, le=1000)] = 1
    clock_origin: datetime | None = None

    @field_validator("alert_webhook_url")
    @classmethod
    def _alerts_are_signed(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url and info.data.get("alert_webhook_secret") is None:
            raise ValueError(f"needs {PREFIX}ALERT_WEBHOOK_SECRET, which signs what is sent there")
        return url

    @field_validator("alert_email_to")
    @classmethod
    def _mail_can_be_sent(cls, to: str | None, info: ValidationInfo) -> str | None:
        if to and not (info.data.get("smtp_url") and info.data.get("alert_email_from")):
            raise ValueError(f"needs {PREFIX}SMTP_URL and {PREFIX}ALERT_EMAIL_FROM")
        return to

    @field_validator("alert_webhook_url")
    @classmethod
    def _alerts_may_leave(cls, url: str | None, info: ValidationInfo) -> str | None:
        problem = url and outgoing_url_problem(url, _egress_of(info.data))
        if problem:
            raise ValueError(problem)
        return url

    @field_validator("public_url")
    @classmethod
    def _public_url_is_sound(cls, url: str | None, info: ValidationInfo) -> str | None:
        problem = url and url_problem(url, allow_plain_http=bool(info.data.get("allow_plain_http")))
        if problem:
            raise ValueError(problem)
        return url

    @property
    def egress(self) -> Egress:
        """The rule for outgoing HTTP."""
        return _egress_of({"egress_hosts": self.egress_hosts, "allow_plain_http": self.allow_plain_http})

    @model_validator(mode="before")
    @classmethod
    def _defaults_fit_the_quiet_window(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Shortens the default send guard and timeout with the quiet window. They must fit into it."""
        try:
            quiet_s = float(given.get("quiet_window_s", QUIET_WINDOW_S))
            guard_s = float(given.get("send_guard_s", min(SEND_GUARD_S, quiet_s / 4)))
        except (TypeError, ValueError):
            return given
        if not quiet_s >= 1:
            return given
        timeout_s = min(START_TIMEOUT_S, max(quiet_s - guard_s, 0.1))
        return {"send_guard_s": guard_s, "start_timeout_s": timeout_s} | given

    @field_validator("send_guard_s")
    @classmethod
    def _windows_fit(cls, guard_s: float, info: ValidationInfo) -> float:
        """Checks that guard and timeout fit into the quiet window. A field validator, since a check of the whole would
        not run beside problems of single fields."""
        quiet_s, timeout_s = info.data.get("quiet_window_s"), info.data.get("start_timeout_s")
        if quiet_s is not None and timeout_s is not None and quiet_s < guard_s + timeout_s:
            raise ValueError(
                f"with {PREFIX}START_TIMEOUT_S it must fit into {PREFIX}QUIET_WINDOW_S, or a second start could be sent"
                " while the first is still under way"
            )
        return guard_s

    @field_validator("clock_origin")
    @classmethod
    def _clock_is_whole(cls, origin: datetime | None, info: ValidationInfo) -> datetime | None:
        if origin is None and info.data.get("clock_speed", 1) != 1:
            raise ValueError(f"is needed with {PREFIX}CLOCK_SPEED (demo only)")
        return origin


class KeyedSettings(Settings):
    """For every process that reads or writes operators' secrets."""

    secret_key: Annotated[SecretStr, AfterValidator(_strong)]

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
    try:
        return kind()
    except ValidationError as error:
        lines = [_line(e) for e in error.errors(include_input=False, include_url=False)]
        raise SettingsWrong("The settings are not right:\n" + "\n".join(lines)) from None
    except SettingsError as error:  # only a file's name and the system's words are known of it
        raise SettingsWrong(f"The settings are not right:\n  {_unreadable(error, kind)}") from None


def _unreadable(error: SettingsError, kind: type[BaseSettings]) -> str:
    """Says which secret file cannot be read and why, without anything of its contents."""
    found = re.search(r'field "(\w+)"', str(error))
    name = f"{PREFIX}{found[1].upper()}" if found else "a setting"
    cause = error.__cause__
    if isinstance(cause, OSError):
        why = cause.strerror
    else:
        why = "it is no UTF-8 text" if isinstance(cause, UnicodeError) else "it leads to no file"
    return f"{name}: its file in {kind.model_config.get('secrets_dir')} cannot be read: {why}"


def _line(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return f"  {message}"
    name = f"{PREFIX}{str(error['loc'][0]).removeprefix(PREFIX.lower()).upper()}"
    if error["type"] == "missing":
        message = f"is missing: it encrypts the operators' secrets; make one with {MAKE_KEY} and keep it"
    return f"  {name}: {message}"
