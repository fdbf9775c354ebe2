"""app/settings: Settings: each variable with its bounds, every problem in one message, nothing secret in it."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from app.settings import (
    PREFIX,
    Settings,
    SettingsWrong,
    load_settings,
    load_settings_without_key,
    outgoing_url_problem,
    url_problem,
)

KEY = "canary-Zk3vQ8mX1pL7rT5wB9nD2fH6jS4"
Environment = Callable[[Mapping[str, str]], None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    """Exactly these TAPWATT_ variables, in a folder without a .env."""
    monkeypatch.chdir(tmp_path)
    for each in fields(Settings):
        monkeypatch.delenv(PREFIX + each.name.upper(), raising=False)

    def hold(values: Mapping[str, str]) -> None:
        for name, value in values.items():
            monkeypatch.setenv(PREFIX + name, value)

    return hold


def complaint(load: Callable[[], Settings] = load_settings) -> str:
    with pytest.raises(SettingsWrong) as refused:
        load()
    return str(refused.value)


def test_defaults_are_those_of_the_contract(environment: Environment) -> None:
    environment({"SECRET_KEY": KEY})
    settings = load_settings()
    assert settings.database_url is None
    assert settings.data_dir == Path(".tapwatt")
    assert settings.public_url is None
    assert (settings.start_deadline_s, settings.start_timeout_s, settings.quiet_window_s) == (300, 30, 120)
    assert (settings.send_guard_s, settings.lease_s, settings.silence_s) == (5, 30, 60)
    assert (settings.stop_retry_s, settings.settle_poll_s, settings.stop_latency_s) == (10, 10, 15)


def test_switches_are_read_as_people_write_them(environment: Environment) -> None:
    for on, off in (("1", "0"), ("true", "FALSE"), ("Yes", "no"), ("on", "Off")):
        environment({"SECRET_KEY": KEY, "ALLOW_PLAIN_HTTP": on, "DOCS": off})
        settings = load_settings()
        assert (settings.allow_plain_http, settings.docs) == (True, False)


WRONG = {
    "DATABASE_URL": "mysql://u:canary@h/db",
    "SECRET_KEY": "canary-short",
    "PUBLIC_URL": "http://example.com",
    "ALLOW_PLAIN_HTTP": "perhaps",
    "START_DEADLINE_S": "soon",
    "START_TIMEOUT_S": "0",
    "QUIET_WINDOW_S": "-1",
    "SEND_GUARD_S": "1000",
    "LEASE_S": "0",
    "SILENCE_S": "nan",
    "STOP_RETRY_S": "",
    "SETTLE_POLL_S": "ten",
    "STOP_LATENCY_S": "-0.1",
    "WATCHER_CONCURRENCY": "1.5",
    "WATCHER_METRICS_PORT": "70000",
    "LOG_LEVEL": "loud",
    "LOG_FORMAT": "xml",
    "CLOCK_SPEED": "0",
}


def test_every_problem_is_reported_in_one_message_and_no_value_is_repeated(environment: Environment) -> None:
    environment(WRONG)
    told = complaint()
    for name in WRONG.keys() - {"STOP_RETRY_S"}:
        assert f"  {PREFIX}{name}: " in told, name
    assert f"{PREFIX}STOP_RETRY_S" not in told, "an empty variable is none"
    assert "canary" not in told


@pytest.mark.parametrize("name", sorted(WRONG.keys() - {"STOP_RETRY_S"}))
def test_each_problem_is_reported_alone_too(environment: Environment, name: str) -> None:
    environment({"SECRET_KEY": KEY, name: WRONG[name]})
    told = complaint()
    assert [line.split(":")[0].strip() for line in told.splitlines()[1:]] == [PREFIX + name]


def test_problems_between_variables_are_reported_beside_those_of_one(environment: Environment) -> None:
    environment({"START_TIMEOUT_S": "100", "SEND_GUARD_S": "30", "LEASE_S": "0", "CLOCK_SPEED": "60"})
    told = complaint()
    for name in ("SECRET_KEY", "SEND_GUARD_S", "LEASE_S", "CLOCK_ORIGIN"):
        assert f"{PREFIX}{name}" in told
    assert f"{PREFIX}QUIET_WINDOW_S" in told


def test_a_missing_key_says_how_to_make_one_but_not_everybody_needs_it(environment: Environment) -> None:
    environment({})
    assert f"{PREFIX}SECRET_KEY: is missing" in complaint()
    assert "token_urlsafe" in complaint()
    assert load_settings_without_key().secret_key is None


def test_a_file_of_variables_is_read(environment: Environment) -> None:
    environment({})
    Path(".env").write_text(f"{PREFIX}SECRET_KEY={KEY}\n{PREFIX}LEASE_S=7\n", encoding="utf-8")
    assert load_settings().lease_s == 7


def test_no_repr_shows_a_secret(environment: Environment) -> None:
    environment({"SECRET_KEY": KEY, "DATABASE_URL": "postgresql://u:canary@h/db"})
    assert "canary" not in repr(load_settings()) + str(load_settings())


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://partner-api.monta.com/api/v1", True),
        ("http://localhost:9000/api/v1", True),
        ("http://127.0.0.1:9000/api/v1", True),
        ("http://[::1]:9000/api/v1", True),
        ("http://monta.example/api/v1", False),
        ("http://localhost.example/api/v1", False),
        ("http://127.0.0.1.example/api/v1", False),
        ("ftp://monta.example/api/v1", False),
        ("monta.example/api/v1", False),
        ("https://", False),
        ("https://user:canary@monta.example", False),
        ("https://:canary@monta.example", False),
        ("https://@monta.example", False),
        ("https://monta.example/a\r\nX-Canary: canary", False),
        ("https://mon\tta.example/api", False),
        ("https://monta.example/a b", False),
        ("https://monta.example/?a=1", False),
        ("https://monta.example/#a", False),
        ("https://[bad/api", False),
        ("https://monta.example:port/api", False),
        ("https://monta.example:99999/api", False),
        ("", False),
    ],
)
def test_secrets_travel_encrypted_or_not_beyond_this_machine(url: str, fine: bool) -> None:
    problem = url_problem(url, allow_plain_http=False)
    assert (problem is None) == fine
    assert "canary" not in (problem or "")


def test_plain_http_can_be_allowed_for_development() -> None:
    assert url_problem("http://monta:9000/api/v1", allow_plain_http=True) is None
    assert url_problem("ftp://monta:9000/api/v1", allow_plain_http=True)


def test_outgoing_urls_are_judged_by_the_rule_of_egress_when_they_are_set(environment: Environment) -> None:
    environment({"SECRET_KEY": KEY, "ALERT_WEBHOOK_SECRET": "whsec_" + "A" * 32})
    environment({"ALERT_WEBHOOK_URL": "https://169.254.169.254/latest"})
    assert "ALERT_WEBHOOK_URL: must lead to a public address" in complaint()
    environment({"ALERT_WEBHOOK_URL": "https://alerts.example/hook", "EGRESS_HOSTS": "Monta.example"})
    assert "ALERT_WEBHOOK_URL: must lead to a host in TAPWATT_EGRESS_HOSTS" in complaint()
    environment({"EGRESS_HOSTS": "Monta.example, alerts.example"})
    settings = load_settings()
    assert settings.egress.hosts == {"monta.example", "alerts.example"}
    assert outgoing_url_problem("https://monta.example/api/v1", settings.egress) is None
    assert outgoing_url_problem("https://other.example/api/v1", settings.egress)
    assert outgoing_url_problem("http://monta.example/api/v1", settings.egress)
    environment({"EGRESS_HOSTS": "https://monta.example"})
    assert "EGRESS_HOSTS" in complaint()


@pytest.fixture
def secret_file(environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of the secret key, in a folder of secrets as a container or systemd mounts it."""
    environment({})
    monkeypatch.setattr("app.settings.SECRETS_FOLDER", tmp_path)
    return tmp_path / "TAPWATT_SECRET_KEY"


def key_of(settings: Settings) -> str:
    assert settings.secret_key is not None
    return settings.secret_key.get_secret_value()


def test_a_secret_file_is_read_without_the_end_of_its_line_and_a_variable_comes_before_it(
    secret_file: Path, environment: Environment
) -> None:
    for end in ("", "\n", "\r\n"):
        secret_file.write_text(KEY + end, encoding="utf-8", newline="")
        assert key_of(load_settings()) == KEY
    environment({"SECRET_KEY": KEY[::-1]})
    assert key_of(load_settings()) == KEY[::-1]


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", "must have 32 characters"),
        (b"canary" * 6, "has too few different characters"),
        (f"{KEY}\n{KEY}".encode(), "holds a line break or an invisible character"),
        (f"\ufeff{KEY}".encode(), "holds a line break or an invisible character"),
        (KEY.encode("utf-16"), "cannot be read: it is no UTF-8 text"),
    ],
)
def test_a_secret_file_that_holds_no_good_key_is_named(
    secret_file: Path, contents: bytes, words: str
) -> None:
    secret_file.write_bytes(contents)
    told = complaint()
    assert "TAPWATT_SECRET_KEY: " in told
    assert words in told
    assert "canary" not in told


def test_a_secret_file_that_cannot_be_read_is_named_with_its_folder_and_the_reason(secret_file: Path) -> None:
    secret_file.symlink_to(secret_file.parent / "nowhere")
    assert complaint() == (
        f"The settings are not right:\n  TAPWATT_SECRET_KEY: its file in {secret_file.parent} cannot be read:"
        " it leads to no file"
    )
