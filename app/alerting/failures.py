"""Says in words why a message was not taken, and what to do. Never in the receiver's own words."""

import socket
import ssl
from collections.abc import Callable, Iterator
from functools import cache

import httpx

from app.alerting.outlet import TIMEOUT_S

SLOW = (
    f"no answer within {TIMEOUT_S:.0f} s: see that the host is up and that no firewall drops the connection"
)


def why_not_sent(error: Exception) -> str:
    """Explains a failed connection or call by its first cause that is known."""
    return next((words for each in _causes(error) if (words := _words(each))), type(error).__name__)


def why_refused(status: int) -> str:
    """Explains an answer that is not 2xx."""
    if 300 <= status < 400:
        return f"answered {status}: redirects are not followed; set the URL that it leads to"
    advice = {
        401: "the receiver wants a login that is not sent; it should check the signature instead",
        403: "the receiver or a firewall before it refuses the call",
        404: "nothing is at this path; check the URL",
        405: "the path takes no POST; check the URL",
        410: "nothing is at this path any more; check the URL",
        413: "the receiver takes no body of this size",
        429: "the receiver takes no more calls for now",
    }
    other = "the receiver failed; its own log says why" if status >= 500 else "the receiver refuses the call"
    return f"answered {status}: {advice.get(status, other)}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The innermost cause first: it is the most exact."""
    deeper = error.__cause__ or error.__context__
    if deeper is not None:
        yield from _causes(deeper)
    yield error


def _words(error: BaseException) -> str | None:
    for kind, words in _known():
        if isinstance(error, kind):
            return words(error) if callable(words) else words
    return None


def _refused_certificate(error: BaseException) -> str:
    why = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
    return f"the TLS certificate is not accepted ({why}): it must be valid for the host"


def _mail_status(error: BaseException) -> str:
    code = getattr(error, "smtp_code", None)
    return f"the mail server answered {code}: see its log"


def _system_words(error: BaseException) -> str | None:
    why = error.strerror if isinstance(error, OSError) else None
    return f"the host cannot be reached: {why}" if why else None


_CUT = "the connection was closed without an HTTP answer: see the receiver's log and its proxy"


@cache
def _known() -> tuple[tuple[type[BaseException], str | Callable[[BaseException], str | None]], ...]:
    """The first kind that fits, the special ones before the general ones. Texts of receivers are left out."""
    import smtplib  # few send mails

    return (
        (socket.gaierror, "the host's name cannot be resolved: check the URL and the DNS of this machine"),
        (ssl.SSLCertVerificationError, _refused_certificate),
        (ssl.SSLError, "no TLS connection: see that the port speaks TLS 1.2 or newer"),
        (ConnectionRefusedError, "the connection is refused: nothing listens at this host and port"),
        (TimeoutError, SLOW),
        (httpx.TimeoutException, SLOW),
        (smtplib.SMTPAuthenticationError, "the mail server refuses user or password: check TAPWATT_SMTP_URL"),
        (
            smtplib.SMTPRecipientsRefused,
            "the mail server refuses every receiver: check TAPWATT_ALERT_EMAIL_TO",
        ),
        (smtplib.SMTPSenderRefused, "the mail server refuses the sender: check TAPWATT_ALERT_EMAIL_FROM"),
        (smtplib.SMTPNotSupportedError, "the mail server offers no STARTTLS or no login: use smtps://"),
        (smtplib.SMTPServerDisconnected, "the mail server closed the connection: see its log"),
        (smtplib.SMTPResponseException, _mail_status),
        (smtplib.SMTPException, lambda error: f"the mail was not taken: {type(error).__name__}"),
        (ConnectionError, _CUT),
        (httpx.RemoteProtocolError, _CUT),
        (httpx.ReadError, _CUT),
        (httpx.WriteError, _CUT),
        (httpx.ConnectError, lambda error: str(error) or None),  # of our own transport: the rule of egress
        (httpx.UnsupportedProtocol, lambda error: str(error) or None),
        (OSError, _system_words),
    )
