"""A database URL as people write it (libpq's form), for the driver that we use."""

import re
from urllib.parse import parse_qsl, unquote

from sqlalchemy import URL

_FORM = re.compile(
    r"(?:postgresql|postgres)(?:\+\w+)?://(?:(?P<login>[^/?]*)@)?(?P<hosts>[^/?@]*)(?:/(?P<name>[^/?]*))?(?:\?(?P<query>.*))?"
)
_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DEFAULT_PORT = 5432


class DatabaseUrlInvalid(ValueError):
    """The URL cannot be used; the message says what to write instead and never repeats a password."""


def asyncpg_url(url: str) -> URL:
    """`postgresql://user:password@host:5432/name`, several hosts separated by commas, `?host=/folder` for a socket.

    Raises DatabaseUrlInvalid. `sslmode` means what it means to libpq; `target_session_attrs` is taken and ignored, for
    the writable host is always the one that is used.
    """
    form = _FORM.fullmatch(url)
    if form is None:
        raise DatabaseUrlInvalid(
            "a database URL is written postgresql://user:password@host:5432/name, with the special characters of the"
            " password percent-encoded (@ is %40, / is %2F)"
        )
    user, _, password = (form["login"] or "").partition(":")
    hosts = [_host_and_port(each) for each in form["hosts"].split(",")]
    options = _options(form["query"] or "")
    (host, port), several = hosts[0], len(hosts) > 1
    if several:
        options |= {
            "host": ",".join(h for h, _ in hosts),
            "port": ",".join(str(p or DEFAULT_PORT) for _, p in hosts),
        }
    return URL.create(
        "postgresql+asyncpg",
        username=unquote(user) or None,
        password=unquote(password) or None,
        host=None if several else host or None,
        port=None if several else port,
        database=unquote(form["name"] or "") or None,
        query=options,
    )


def _host_and_port(text: str) -> tuple[str, int | None]:
    found = _HOST.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 0 < port < 65_536):
        raise DatabaseUrlInvalid("a host is written name:port, with a port from 1 to 65535")
    return unquote(found["host"].strip("[]")), port


def _options(query: str) -> dict[str, str]:
    given = dict(parse_qsl(query, keep_blank_values=True))
    options: dict[str, str] = {name: given.pop(name) for name in ("host", "port") if name in given}
    given.pop("target_session_attrs", None)
    options["target_session_attrs"] = "read-write"
    mode = given.pop("sslmode", given.pop("ssl", None))
    if mode is not None:
        if mode not in SSL_MODES:
            raise DatabaseUrlInvalid(f"sslmode must be one of {', '.join(SSL_MODES)}")
        options["ssl"] = mode
    if given:
        raise DatabaseUrlInvalid("of a database URL's options only host, port and sslmode are known here")
    return options
