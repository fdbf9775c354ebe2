"""Tests of app/cli/endpoints: where terminal makers are told of events, by command."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from standardwebhooks import Webhook

from tests.entry.command_line import facts, rows, run, tenants
from tests.store.rows import OP_ONE, OP_OTHER, TRM_ONE

__all__ = ["tenants"]

URL = "https://maker.test/events"


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is POSTed; answers with the status in the path."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.got.append((body, dict(self.headers)))  # type: ignore[attr-defined]
        self.send_response(int(self.path.strip("/")))
        self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.got = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_an_endpoint_is_added_shown_changed_paused_and_removed(tenants: str) -> None:
    added = facts(tenants, "endpoint", "add", "--terminal", TRM_ONE, "--url", URL)
    assert set(added) == {"endpoint_id", "signing_secret"}
    assert len(added["signing_secret"]) == len("whsec_") + 44
    assert added["signing_secret"] not in str(rows(tenants, "SELECT * FROM event_endpoints"))
    of = added["endpoint_id"]
    shown = facts(tenants, "endpoint", "show", of)
    assert (shown["for"], shown["state"], shown["events"], shown["waiting"]) == (
        TRM_ONE,
        "active",
        "all",
        "0",
    )
    assert shown["operator_id"] == OP_ONE
    event = "payment_session.settled"
    changed = facts(tenants, "endpoint", "set", of, "--event", event, "--url", f"{URL}/2")
    assert (changed["events"], changed["url"]) == (event, f"{URL}/2")
    assert facts(tenants, "endpoint", "set", of, "--all-events")["events"] == "all"
    assert facts(tenants, "endpoint", "pause", of)["state"] == "paused"
    assert facts(tenants, "endpoint", "resume", of)["state"] == "active"
    rotated = facts(tenants, "endpoint", "rotate-secret", of)
    assert rotated["previous_signs_until"] is not None
    assert rotated["signing_secret"] != added["signing_secret"]
    assert facts(tenants, "endpoint", "rotate-secret", of, "--at-once")["previous_signs_until"] is None
    assert [each["endpoint_id"] for each in facts(tenants, "endpoint", "list")["data"]] == [of]
    assert facts(tenants, "endpoint", "list", "--operator", OP_OTHER)["data"] == []
    assert facts(tenants, "endpoint", "remove", of) == {"removed": of}
    status, told = run(tenants, "endpoint", "show", of)
    assert (status, "tapwatt endpoint list" in told) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", URL], "--provider SLUG"),
        (["--provider", "p", "--terminal", TRM_ONE, "--url", URL], "--provider SLUG"),
        (["--provider", "nobody", "--url", URL], "0 operators have terminals"),
        (["--provider", "p", "--operator", "op_unknown", "--url", URL], "there is no operator"),
        (["--terminal", TRM_ONE, "--operator", OP_OTHER, "--url", URL], "there is no terminal"),
        (["--terminal", TRM_ONE, "--url", "http://maker.test/events"], "must begin with https://"),
        (["--terminal", TRM_ONE, "--url", "https://10.0.0.1/events"], "must lead to a public address"),
        (["--terminal", TRM_ONE, "--url", "https://169.254.169.254/"], "must lead to a public address"),
        (["--terminal", TRM_ONE, "--url", f"{URL}?a=b"], "must have no query"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused_in_words(
    tenants: str, arguments: list[str], said: str
) -> None:
    status, told = run(tenants, "endpoint", "add", *arguments)
    assert (status, said in told) == (1, True), told


def test_a_provider_of_several_operators_needs_one_named(tenants: str) -> None:
    (provider,) = {each[0] for each in rows(tenants, "SELECT provider FROM terminals")}
    status, told = run(tenants, "endpoint", "add", "--provider", provider, "--url", URL)
    assert (status, "2 operators" in told, "--operator" in told) == (1, True, True)
    more = ["--provider", provider, "--operator", OP_ONE, "--event", "charge_point.changed"]
    added = facts(tenants, "endpoint", "add", *more, "--url", URL)
    assert facts(tenants, "endpoint", "show", added["endpoint_id"])["for"] == provider


def test_endpoints_go_with_their_terminal_and_their_operator(tenants: str) -> None:
    facts(tenants, "endpoint", "add", "--terminal", TRM_ONE, "--url", URL)
    facts(tenants, "terminal", "remove", TRM_ONE)
    assert rows(tenants, "SELECT id FROM event_endpoints") == []
    facts(tenants, "endpoint", "add", "--provider", "p", "--operator", OP_ONE, "--url", URL)
    assert run(tenants, "operator", "remove", OP_ONE)[0] == 0
    assert rows(tenants, "SELECT id FROM event_endpoints") == []


def test_a_test_event_is_signed_and_its_answer_told(tenants: str, receiver: HTTPServer) -> None:
    base = f"http://127.0.0.1:{receiver.server_port}"
    added = facts(tenants, "endpoint", "add", "--terminal", TRM_ONE, "--url", f"{base}/204")
    assert facts(tenants, "endpoint", "test", added["endpoint_id"])["result"] == "taken"
    ((body, headers),) = receiver.got  # type: ignore[attr-defined]
    told = Webhook(added["signing_secret"]).verify(body, {name.lower(): v for name, v in headers.items()})
    assert told["type"] == "endpoint.test"
    assert told["data"] == {"endpoint_id": added["endpoint_id"]}
    facts(tenants, "endpoint", "set", added["endpoint_id"], "--url", f"{base}/302")
    status, said = run(tenants, "endpoint", "test", added["endpoint_id"])
    assert (status, "answered 302" in said) == (3, True)
    assert len(receiver.got) == 2, "no redirect is followed"  # type: ignore[attr-defined]
