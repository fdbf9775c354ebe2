"""the first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ANNOUNCE_KEY = """
CREATE FUNCTION announce_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('tapwatt_keys', OLD.id);
  RETURN NULL;
END
$$
"""
WHEN_A_KEY_CHANGES = """
CREATE TRIGGER announce_key
AFTER DELETE OR UPDATE OF operator_id, role, name, key_hash, expires_at, revoked_at ON api_keys
FOR EACH ROW EXECUTE FUNCTION announce_key()
"""
REFUSE = """\
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of % is refused: its rows are evidence', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END
$$"""

KEEP_SETTLEMENT = """\
CREATE FUNCTION keep_settlement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF to_jsonb(NEW) - '{status,overdue_since,shares,captured_minor,attempts,retry_at}'::text[]
      IS DISTINCT FROM to_jsonb(OLD) - '{status,overdue_since,shares,captured_minor,attempts,retry_at}'::text[]
    OR (SELECT jsonb_agg(share - 'status' ORDER BY n)
          FROM jsonb_array_elements(NEW.shares) WITH ORDINALITY AS new_shares (share, n))
      IS DISTINCT FROM
       (SELECT jsonb_agg(share - 'status' ORDER BY n)
          FROM jsonb_array_elements(OLD.shares) WITH ORDINALITY AS old_shares (share, n))
  THEN
    RAISE EXCEPTION 'a settlement is decided once; only what the PSP did with it may change'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END
$$"""

_NEVER = "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
TRIGGERS = (
    f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal {_NEVER}",
    f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON captures {_NEVER}",
    f"CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON settlements {_NEVER}",
    "CREATE TRIGGER decided_once BEFORE UPDATE ON settlements FOR EACH ROW EXECUTE FUNCTION keep_settlement()",
    "CREATE TRIGGER recorded_once BEFORE UPDATE OF id, operator_id, terminal_id, charge_point_id, reference,"
    f" request_hash, currency, created_at, tariff ON payment_sessions {_NEVER}",
)


def _guard_evidence() -> None:
    op.create_index(
        "ix_settlements_due",
        "settlements",
        ["overdue_since", "report_due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'due'"),
    )
    op.create_index(
        "ix_payment_sessions_personal",
        "payment_sessions",
        ["operator_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("personal"),
    )
    _run(REFUSE, KEEP_SETTLEMENT, *TRIGGERS)


def _run(*statements: str) -> None:
    for statement in statements:
        op.execute(statement)


PROTECTED = {
    "operators": "id",
    **dict.fromkeys(
        (
            "operator_jobs",
            "terminals",
            "charge_points",
            "terminal_charge_points",
            "hold_policies",
            "price_groups",
            "tariffs",
            "api_keys",
            "alerts",
            "outages",
            "event_endpoints",
            "events",
            "event_deliveries",
            "inbox",
            "deliveries",
            "polled_reports",
            "orphans",
            "monta_tokens",
            "monta_budgets",
            "payment_sessions",
            "kept_readings",
            "holds",
            "settlements",
            "captures",
            "journal",
        ),
        "operator_id",
    ),
}
"""Tables with row level security, and the column that names a row's operator."""


def upgrade() -> None:
    op.create_table(
        "operators",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("monta_url", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column(
            "client_secret", sa.LargeBinary(), nullable=False, comment="encrypted, bound to the operator"
        ),
        sa.Column("paying_team_id", sa.Text(), nullable=False),
        sa.Column("price_unit", sa.Text(), server_default="major", nullable=False),
        sa.Column(
            "time_zone", sa.Text(), server_default="UTC", nullable=False, comment="for prices by time of day"
        ),
        sa.Column(
            "top_up_max_minor",
            sa.BigInteger(),
            nullable=True,
            comment="the most that top-ups may raise an authorization to; Monta's own limits start there",
        ),
        sa.Column(
            "hold_max_eur",
            sa.Integer(),
            nullable=True,
            comment="the most of one hold, in EUR, other currencies alike; null: usual",
        ),
        sa.Column(
            "least_capture_minor",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="a lower price is released",
        ),
        sa.Column(
            "least_energy_wh",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="the price of less is released",
        ),
        sa.Column(
            "monta_clock_ahead_s",
            sa.BigInteger(),
            nullable=True,
            comment="as its records last showed; null: it agrees with ours",
        ),
        sa.Column("webhook_endpoint_id", sa.Text(), nullable=False),
        sa.Column(
            "webhook_secret", sa.LargeBinary(), nullable=False, comment="encrypted, bound to the operator"
        ),
        sa.Column(
            "previous_webhook_secret",
            sa.LargeBinary(),
            nullable=True,
            comment="the one before, encrypted likewise",
        ),
        sa.Column(
            "previous_webhook_secret_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="it is taken until then, and forgotten",
        ),
        sa.Column(
            "webhook_secret_pending_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was changed; null: Monta has this one",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "disabled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when no new payments are taken; null: they are",
        ),
        sa.Column("webhook_problem", sa.Text(), nullable=True),
        sa.Column(
            "webhook_mended_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when its configuration at Monta was last found changed",
        ),
        sa.Column("sync_problem", sa.Text(), nullable=True),
        sa.Column(
            "setup_problem",
            sa.Text(),
            nullable=True,
            comment="what Monta shows does not fit what was configured",
        ),
        sa.Column(
            "reconcile_wanted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="no start until a reconciliation that began after this",
        ),
        sa.Column(
            "reconciled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Monta's list was compared with ours up to then",
        ),
        sa.Column(
            "reconciled_deep_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the last comparison that reached back for days",
        ),
        sa.Column(
            "reconcile_due_at", sa.DateTime(timezone=True), nullable=True, comment="the next comparison"
        ),
        sa.Column("reconcile_problem", sa.Text(), nullable=True),
        sa.Column(
            "access_refused_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when Monta refuses the credential",
        ),
        sa.Column(
            "access_problem", sa.Text(), nullable=True, comment="Monta refuses it lastingly: no new sessions"
        ),
        sa.Column(
            "evidence_checked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when sessions' evidence was last examined",
        ),
        sa.Column(
            "evidence_checked_to",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="sessions recorded before are next; null: the newest",
        ),
        sa.Column(
            "evidence_checked_id",
            sa.Text(),
            nullable=True,
            comment="of those recorded then, the last one",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operators")),
        sa.UniqueConstraint("webhook_endpoint_id", name=op.f("uq_operators_webhook_endpoint_id")),
    )
    op.create_table(
        "watchers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "clock_ahead_ms",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="its clock minus the database's at its last heartbeat",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watchers")),
    )
    op.create_table(
        "charge_points",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("charge_point_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("connectors", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("current_type", sa.Text(), nullable=True),
        sa.Column("max_power_w", sa.Integer(), nullable=True),
        sa.Column("cable_plugged_in", sa.Boolean(), nullable=True),
        sa.Column("price_group_id", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True, comment="brand and model, as Monta names them"),
        sa.Column("evse_id", sa.Text(), nullable=True),
        sa.Column("site_id", sa.Text(), nullable=True, comment="Monta's id of the site that it belongs to"),
        sa.Column("address", sa.Text(), nullable=True, comment="in one line, as Monta shows it"),
        sa.Column(
            "learned_kwh_price",
            sa.Numeric(),
            nullable=True,
            comment="of the last settled charge, in major units",
        ),
        sa.Column("learned_currency", sa.Text(), nullable=True),
        sa.Column(
            "charged_currency",
            sa.Text(),
            nullable=True,
            comment="what the newest charge here ran in, whoever started it",
        ),
        sa.Column("charged_at", sa.DateTime(timezone=True), nullable=True, comment="when that charge began"),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="its availability is known since then",
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when Monta last reported; null: never yet",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Monta's own time of what is kept, never later than ours",
        ),
        sa.Column(
            "event_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="of the webhook that reported it; null: it was read",
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True, comment="Monta has it no more"),
        sa.Column(
            "profile",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="what its settled sessions taught: stop latency, meter, power",
        ),
        sa.Column(
            "told_digest",
            sa.LargeBinary(),
            nullable=True,
            comment="of what terminal makers were last told; null: of nothing",
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_charge_points_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", "charge_point_id", name=op.f("pk_charge_points")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index(
        "ix_charge_points_model",
        "charge_points",
        ["operator_id", "model", "charge_point_id"],
        unique=False,
        postgresql_where=sa.text("profile IS NOT NULL"),
    )
    op.create_table(
        "hold_policies",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column(
            "brand", sa.Text(), nullable=False, comment="of the card, lower case; empty: all the others"
        ),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.CheckConstraint("days BETWEEN 1 AND 60", name=op.f("ck_hold_policies_days_are_sane")),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_hold_policies_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", "brand", name=op.f("pk_hold_policies")),
        comment="How long a hold is good when the terminal does not say.",
    )
    op.create_table(
        "deliveries",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="SHA-256 of the body"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False, comment="X-Monta-Signature, as it was sent"),
        sa.Column(
            "charge_ids", sa.ARRAY(sa.Text()), nullable=False, comment="the charges that its entries name"
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="as it was sent, compressed by zlib"),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_deliveries_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", "digest", name=op.f("pk_deliveries")),
        comment="Every signed delivery whose entries have taken effect or are in the inbox.",
    )
    op.create_index(
        "ix_deliveries_operator_id_received_at", "deliveries", ["operator_id", "received_at"], unique=False
    )
    # Compressed already: PostgreSQL must not try again.
    op.execute("ALTER TABLE deliveries ALTER body SET STORAGE EXTERNAL")
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entity_type", sa.Text(), nullable=True),
        sa.Column("entity_id", sa.Text(), nullable=True),
        sa.Column("event_type", sa.Text(), nullable=True),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("charge_id", sa.Text(), nullable=True),
        sa.Column("session_reference", sa.Text(), nullable=True, comment="the charge's partnerExternalId"),
        sa.Column("raw", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_inbox_operator_id")),
        sa.PrimaryKeyConstraint("id", "operator_id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("operator_id", "dedupe_key", name=op.f("uq_inbox_operator_id_dedupe_key")),
        comment="Entries of signed webhooks that wait for a watcher, or did; see deliveries.",
    )
    op.create_index(
        "ix_inbox_news_by_charge",
        "inbox",
        ["operator_id", "charge_id"],
        unique=False,
        postgresql_where=sa.text("applied_at IS NULL AND charge_id IS NOT NULL"),
    )
    op.create_index(
        "ix_inbox_news_by_session",
        "inbox",
        ["operator_id", "session_reference"],
        unique=False,
        postgresql_where=sa.text("applied_at IS NULL AND session_reference IS NOT NULL"),
    )
    op.create_index(
        "ix_inbox_charge_point_news",
        "inbox",
        ["operator_id", "id"],
        unique=False,
        postgresql_where=sa.text(
            "applied_at IS NULL AND problem IS NULL AND entity_type IN ('charge-point', 'price-group')"
        ),
    )
    op.create_table(
        "monta_budgets",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("quota", sa.Integer(), nullable=False),
        sa.Column("window_s", sa.Integer(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("window_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "blocked_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Monta said 429; reads and starts wait",
        ),
        sa.Column(
            "stops_blocked_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Monta said 429 to a stop",
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_monta_budgets_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_monta_budgets")),
    )
    op.create_table(
        "monta_tokens",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("access", sa.LargeBinary(), nullable=True),
        sa.Column("access_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refresh", sa.LargeBinary(), nullable=True),
        sa.Column("refresh_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "renewal_lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="a replica is renewing the pair until then",
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_monta_tokens_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", name=op.f("pk_monta_tokens")),
    )
    op.create_table(
        "operator_jobs",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True, comment="null: when it is requested"),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_operator_jobs_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", "job", name=op.f("pk_operator_jobs")),
        comment="What the watcher does for an operator as a whole, each kind with its own due time and lease.",
    )
    op.create_index(
        "ix_operator_jobs_due_at",
        "operator_jobs",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "orphans",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("charge_id", sa.Text(), nullable=False),
        sa.Column("session_reference", sa.Text(), nullable=False, comment="the charge's partnerExternalId"),
        sa.Column(
            "ours",
            sa.Boolean(),
            nullable=False,
            comment="proved to be of our start; others are only reported",
        ),
        sa.Column("charge_point_id", sa.Text(), nullable=True),
        sa.Column("display_reference", sa.Text(), nullable=True),
        sa.Column("card_last4", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("energy_wh", sa.BigInteger(), nullable=True),
        sa.Column("price", sa.Numeric(), nullable=True, comment="in major units"),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True, comment="by Monta"),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stops", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column(
            "closed_at", sa.DateTime(timezone=True), nullable=True, comment="when operations closed it"
        ),
        sa.Column("closed_because", sa.Text(), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True, comment="the key, or the command line's user"),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_orphans_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", "charge_id", name=op.f("pk_orphans")),
        comment="Charges with our reference at Monta that belong to no payment session here.",
    )
    op.create_table(
        "price_groups",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("price_group_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column(
            "currency",
            sa.Text(),
            nullable=True,
            comment="of all its prices; null: they are in several, or none says",
        ),
        sa.Column(
            "tariff",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="converted to OCPI; null: this group cannot be",
        ),
        sa.Column(
            "gaps",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
            comment="what the tariff does not say of it",
        ),
        sa.Column(
            "read_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when Monta last showed it; null: never yet",
        ),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a webhook last said that it changed",
        ),
        sa.Column("problem", sa.Text(), nullable=True, comment="why the last try to read it failed"),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_price_groups_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", "price_group_id", name=op.f("pk_price_groups")),
        comment="Monta's price groups of the charge points that terminals use.",
    )
    op.create_table(
        "polled_reports",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("charge_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operators.id"], name=op.f("fk_polled_reports_operator_id")
        ),
        sa.PrimaryKeyConstraint("operator_id", "charge_id", name=op.f("pk_polled_reports")),
        comment="What a read of many charges showed of one, until its session has taken it in: the newest only.",
    )
    op.create_index("ix_polled_reports_session_id", "polled_reports", ["session_id"], unique=False)
    op.create_table(
        "tariffs",
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column(
            "charge_point_id",
            sa.Text(),
            nullable=False,
            comment="empty: the operator's own, for all the others",
        ),
        sa.Column("tariff", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_tariffs_operator_id")),
        sa.PrimaryKeyConstraint("operator_id", "charge_point_id", name=op.f("pk_tariffs")),
    )
    op.create_table(
        "terminals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "reported_state", sa.Text(), nullable=True, comment="online or out_of_order, as it said last"
        ),
        sa.Column(
            "reported_message", sa.Text(), nullable=True, comment="what it said of itself, for operations"
        ),
        sa.Column(
            "reported_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="its last heartbeat; null: it sends none",
        ),
        sa.Column(
            "first_reported_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="its availability is known since then",
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_terminals_operator_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terminals")),
        sa.UniqueConstraint("id", "operator_id", name=op.f("uq_terminals_id_operator_id")),
    )
    _create_keys()
    op.create_table(
        "payment_sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("charge_point_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("display_reference", sa.Text(), nullable=False),
        sa.Column("card_last4", sa.Text(), nullable=True),
        sa.Column("card_fingerprint", sa.Text(), nullable=True),
        sa.Column("card_account_reference", sa.Text(), nullable=True),
        sa.Column("authorized_minor", sa.BigInteger(), nullable=False, comment="all holds together"),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("charge_id", sa.Text(), nullable=True),
        sa.Column(
            "occupies_charge_point",
            sa.Boolean(),
            nullable=False,
            comment="whether another payment must wait for this one; once false, for ever",
        ),
        sa.Column("needs_attention", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "personal",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="whether card or metadata are kept; see docs/privacy.md",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "body",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the whole session; the columns beside it are for keys and searches",
        ),
        sa.Column(
            "tariff",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="the tariff in force at the start, as it was given",
        ),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the watcher must look next; null: never, unless news comes",
        ),
        sa.Column(
            "silence_due_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="due_at while nothing but a read of a silent charge is due then",
        ),
        sa.Column(
            "stop_due_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a stop falls due: claimed before everything else then",
        ),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "lease_token",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="the fence: rises with each claim",
        ),
        sa.Column(
            "failures",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="crashes of the watcher's handler in a row",
        ),
        sa.CheckConstraint("authorized_minor > 0", name=op.f("ck_payment_sessions_authorized_is_positive")),
        sa.ForeignKeyConstraint(
            ["terminal_id", "operator_id"],
            ["terminals.id", "terminals.operator_id"],
            name=op.f("fk_payment_sessions_terminal_id_operator_id"),
        ),
        sa.PrimaryKeyConstraint("id", "operator_id", name=op.f("pk_payment_sessions")),
        sa.UniqueConstraint(
            "charge_id", "operator_id", name=op.f("uq_payment_sessions_charge_id_operator_id")
        ),
        sa.UniqueConstraint(
            "terminal_id",
            "idempotency_key",
            "operator_id",
            name=op.f("uq_payment_sessions_terminal_id_idempotency_key_operator_id"),
        ),
        sa.UniqueConstraint(
            "reference",
            "terminal_id",
            "operator_id",
            name=op.f("uq_payment_sessions_reference_terminal_id_operator_id"),
        ),
        postgresql_with={
            "fillfactor": 70,
            "autovacuum_vacuum_scale_factor": 0.02,
            "autovacuum_analyze_scale_factor": 0.02,
        },
    )
    op.create_index(
        "ix_payment_sessions_card_account_reference",
        "payment_sessions",
        ["terminal_id", "card_account_reference"],
        unique=False,
        postgresql_where=sa.text("card_account_reference IS NOT NULL"),
    )
    op.create_index(
        "ix_payment_sessions_card_fingerprint",
        "payment_sessions",
        ["terminal_id", "card_fingerprint"],
        unique=False,
        postgresql_where=sa.text("card_fingerprint IS NOT NULL"),
    )
    op.create_index("ix_payment_sessions_created_at", "payment_sessions", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_payment_sessions_terminal_id_created_at",
        "payment_sessions",
        ["terminal_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_payment_sessions_charge_point_id_created_at",
        "payment_sessions",
        ["charge_point_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_payment_sessions_display_reference", "payment_sessions", ["display_reference"], unique=False
    )
    op.create_index(
        "ix_payment_sessions_card_last4",
        "payment_sessions",
        ["card_last4", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("card_last4 IS NOT NULL"),
    )
    op.create_index(
        "ix_payment_sessions_needs_attention",
        "payment_sessions",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("needs_attention"),
    )
    op.create_index(
        "ix_payment_sessions_not_completed",
        "payment_sessions",
        ["status", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("status <> 'completed'"),
    )
    op.create_index(
        "ix_payment_sessions_operator_id_created_at",
        "payment_sessions",
        ["operator_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_payment_sessions_operator_id_due_at",
        "payment_sessions",
        ["operator_id", "due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_payment_sessions_operator_id_stop_due_at",
        "payment_sessions",
        ["operator_id", "stop_due_at"],
        unique=False,
        postgresql_where=sa.text("stop_due_at IS NOT NULL"),
    )
    op.create_index(
        "uq_payment_sessions_active_charge_point",
        "payment_sessions",
        ["operator_id", "charge_point_id"],
        unique=True,
        postgresql_where=sa.text("occupies_charge_point"),
    )
    op.create_table(
        "terminal_charge_points",
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("charge_point_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operator_id", "charge_point_id"],
            ["charge_points.operator_id", "charge_points.charge_point_id"],
            name=op.f("fk_terminal_charge_points_operator_id_charge_point_id"),
        ),
        sa.ForeignKeyConstraint(
            ["terminal_id", "operator_id"],
            ["terminals.id", "terminals.operator_id"],
            name=op.f("fk_terminal_charge_points_terminal_id_operator_id"),
        ),
        sa.PrimaryKeyConstraint(
            "terminal_id", "charge_point_id", "operator_id", name=op.f("pk_terminal_charge_points")
        ),
        comment="A terminal serves charge points of its own operator only: the keys see to it.",
    )
    op.create_table(
        "captures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column(
            "authorization_reference",
            sa.Text(),
            nullable=True,
            comment="the hold that it was done with; null: all of them",
        ),
        sa.Column(
            "retryable",
            sa.Boolean(),
            server_default="true",
            nullable=False,
            comment="of a refusal: whether another attempt may succeed",
        ),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id", "operator_id"],
            ["payment_sessions.id", "payment_sessions.operator_id"],
            name=op.f("fk_captures_session_id_operator_id"),
        ),
        sa.PrimaryKeyConstraint("id", "operator_id", name=op.f("pk_captures")),
        sa.UniqueConstraint(
            "session_id",
            "outcome",
            "reference",
            "authorization_reference",
            "operator_id",
            name=op.f("uq_captures_session_id_outcome_reference"),
            postgresql_nulls_not_distinct=True,
        ),
        comment="What the PSP did, as the terminal reported it.",
    )
    op.create_table(
        "holds",
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_holds_amount_is_positive")),
        sa.ForeignKeyConstraint(
            ["session_id", "operator_id"],
            ["payment_sessions.id", "payment_sessions.operator_id"],
            name=op.f("fk_holds_session_id_operator_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("reference", "terminal_id", "operator_id", name=op.f("pk_holds")),
        comment="Every hold of every session, first and top-ups: one reference pays for one session.",
    )
    op.create_index("ix_holds_session_id", "holds", ["session_id"], unique=False)
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id", "operator_id"],
            ["payment_sessions.id", "payment_sessions.operator_id"],
            name=op.f("fk_journal_session_id_operator_id"),
        ),
        sa.Column(
            "hash",
            sa.LargeBinary(),
            nullable=False,
            comment="of this line and the hash of the session's line before",
        ),
        sa.PrimaryKeyConstraint("session_id", "id", "operator_id", name=op.f("pk_journal")),
    )
    op.create_table(
        "kept_readings",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("charge_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="rises with each change"),
        sa.Column(
            "allowed",
            sa.Text(),
            nullable=True,
            comment="what a reading may show without a decision, as JSON; null: nothing",
        ),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="nothing is due before then but a read of a silent charge",
        ),
        sa.Column("silent_at", sa.DateTime(timezone=True), nullable=True, comment="such a read is due then"),
        sa.Column("newest", sa.Text(), nullable=False, comment="the newest reading, as JSON"),
        sa.Column(
            "count",
            sa.Integer(),
            nullable=False,
            comment="readings that the session's row does not have yet",
        ),
        sa.Column(
            "points",
            sa.LargeBinary(),
            nullable=False,
            comment="microseconds (4 bytes) and Wh (2 bytes) of each one since the one before",
        ),
        sa.ForeignKeyConstraint(
            ["session_id", "operator_id"],
            ["payment_sessions.id", "payment_sessions.operator_id"],
            name=op.f("fk_kept_readings_session_id_operator_id"),
        ),
        sa.PrimaryKeyConstraint("session_id", "operator_id", name=op.f("pk_kept_readings")),
        sa.UniqueConstraint("operator_id", "charge_id", name=op.f("uq_kept_readings_operator_id_charge_id")),
        comment="Readings of running charges that decided nothing, until their session is next saved.",
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "settlements",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("authorized_minor", sa.BigInteger(), nullable=False),
        sa.Column("to_capture_minor", sa.BigInteger(), nullable=False),
        sa.Column("to_release_minor", sa.BigInteger(), nullable=False),
        sa.Column("shortfall_minor", sa.BigInteger(), nullable=False),
        sa.Column("energy_wh", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("session_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column(
            "basis",
            sa.Text(),
            server_default="final_price",
            nullable=False,
            comment="what the amount rests on: final_price, last_price, ...",
        ),
        sa.Column(
            "shares",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
            comment="hold by hold, what becomes of it",
        ),
        sa.Column(
            "report_due_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="flagged for operations then without a capture report",
        ),
        sa.Column(
            "overdue_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was flagged for operations; null: not, or not yet",
        ),
        sa.Column(
            "captured_minor",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="as reported so far",
        ),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="refused captures, as reported",
        ),
        sa.Column(
            "retry_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a refused capture is tried again; null: not",
        ),
        sa.CheckConstraint(
            "(action = 'capture') = (to_capture_minor > 0)", name=op.f("ck_settlements_action_fits")
        ),
        sa.CheckConstraint(
            "to_capture_minor + to_release_minor = authorized_minor", name=op.f("ck_settlements_adds_up")
        ),
        sa.CheckConstraint(
            "to_capture_minor >= 0 AND to_release_minor >= 0 AND shortfall_minor >= 0",
            name=op.f("ck_settlements_not_negative"),
        ),
        sa.ForeignKeyConstraint(
            ["session_id", "operator_id"],
            ["payment_sessions.id", "payment_sessions.operator_id"],
            name=op.f("fk_settlements_session_id_operator_id"),
        ),
        sa.PrimaryKeyConstraint("session_id", "operator_id", name=op.f("pk_settlements")),
    )
    op.create_index(
        "ix_settlements_failed",
        "settlements",
        ["session_id"],
        unique=False,
        postgresql_where=sa.text("status = 'failed'"),
    )
    _create_alerts()
    _create_outages()
    _create_events()
    _create_compatibility()
    _guard_evidence()
    _protect()


def _create_alerts() -> None:
    """Creates what operations hear of, and which process says it."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=True, comment="null: of the installation"),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column(
            "about",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="which of several causes of one code",
        ),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "closed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="kept until a message has said so",
        ),
        sa.Column(
            "sent_at", sa.DateTime(timezone=True), nullable=True, comment="when it was last in a message"
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_alerts_operator_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        comment="What is wrong now, and what has ended since operations heard of it.",
    )
    op.create_index(
        "uq_alerts_open",
        "alerts",
        ["operator_id", "session_id", "code", "about"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "alert_runs",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "sent_at", sa.DateTime(timezone=True), nullable=True, comment="when the last message was sent"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_runs")),
        comment="One row: which process may send alerts, and when it last did.",
    )


def _create_outages() -> None:
    """Creates the intervals in which charge points and terminals were out of service."""
    op.create_table(
        "outages",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("charge_point_id", sa.Text(), nullable=True, comment="null: of a terminal"),
        sa.Column("terminal_id", sa.Text(), nullable=True, comment="null: of a charge point"),
        sa.Column(
            "cause",
            sa.Text(),
            nullable=False,
            comment="Monta's state, `deleted`, `out_of_order` or `offline`",
        ),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True, comment="null: it lasts"),
        sa.CheckConstraint("num_nonnulls(charge_point_id, terminal_id) = 1", name=op.f("ck_outages_of_one")),
        sa.CheckConstraint("ended_at >= began_at", name=op.f("ck_outages_ends_after_it_began")),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_outages_operator_id")),
        sa.ForeignKeyConstraint(
            ["operator_id", "charge_point_id"],
            ["charge_points.operator_id", "charge_points.charge_point_id"],
            name=op.f("fk_outages_operator_id_charge_point_id"),
        ),
        sa.ForeignKeyConstraint(
            ["terminal_id", "operator_id"],
            ["terminals.id", "terminals.operator_id"],
            name=op.f("fk_outages_terminal_id_operator_id"),
        ),
        sa.PrimaryKeyConstraint("id", "operator_id", name=op.f("pk_outages")),
        comment="When a charge point could not charge, or a terminal was away; availability is the rest of the time.",
    )
    op.create_index(
        "uq_outages_lasting",
        "outages",
        ["operator_id", "charge_point_id", "terminal_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("ix_outages_operator_id_ended_at", "outages", ["operator_id", "ended_at"])


def _create_events() -> None:
    """Creates endpoints of terminal makers, events, and deliveries that are due."""
    op.create_table(
        "event_endpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column(
            "provider",
            sa.Text(),
            nullable=True,
            comment="of all terminals of this maker; null: of one terminal",
        ),
        sa.Column("terminal_id", sa.Text(), nullable=True, comment="of this terminal; null: of a maker's"),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event_types", sa.ARRAY(sa.Text()), nullable=True, comment="null: all"),
        sa.Column(
            "signing_secret",
            sa.LargeBinary(),
            nullable=False,
            comment="encrypted, bound to the endpoint and its URL",
        ),
        sa.Column(
            "previous_secret", sa.LargeBinary(), nullable=True, comment="the one before, encrypted likewise"
        ),
        sa.Column(
            "previous_secret_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="it signs too until then, and is forgotten",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "paused_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when nothing is sent; null: it is",
        ),
        sa.Column(
            "failing_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when no delivery was taken; null: the last one was",
        ),
        sa.Column("problem", sa.Text(), nullable=True, comment="why the last failed delivery was not taken"),
        sa.Column(
            "quiet_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="of one that fails: nothing is sent before",
        ),
        sa.Column(
            "delivered_at", sa.DateTime(timezone=True), nullable=True, comment="when it last took a delivery"
        ),
        sa.Column(
            "given_up",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="deliveries that were given up",
        ),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="a process sends to it until then",
        ),
        sa.Column(
            "lease_token",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="rises with each claim",
        ),
        sa.CheckConstraint("num_nonnulls(provider, terminal_id) = 1", name=op.f("ck_event_endpoints_of_one")),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operators.id"], name=op.f("fk_event_endpoints_operator_id")
        ),
        sa.ForeignKeyConstraint(
            ["terminal_id", "operator_id"],
            ["terminals.id", "terminals.operator_id"],
            name=op.f("fk_event_endpoints_terminal_id_operator_id"),
        ),
        sa.PrimaryKeyConstraint("id", "operator_id", name=op.f("pk_event_endpoints")),
        comment="Where terminal makers want to be told of events.",
    )
    op.create_index("ix_event_endpoints_operator_id", "event_endpoints", ["operator_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column("terminal_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=True, comment="null: of no session"),
        sa.Column("charge_point_id", sa.Text(), nullable=True, comment="null: of a session"),
        sa.Column("version", sa.Integer(), nullable=False, comment="of the session; 0 without one"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "data", sa.Text(), nullable=False, comment="what the terminal would have seen then, as JSON"
        ),
        sa.Column(
            "number",
            sa.BigInteger(),
            nullable=True,
            comment="its place among its terminal's; null: nobody has listed it yet",
        ),
        sa.ForeignKeyConstraint(
            ["operator_id", "charge_point_id"],
            ["charge_points.operator_id", "charge_points.charge_point_id"],
            name=op.f("fk_events_operator_id_charge_point_id"),
        ),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_events_operator_id")),
        sa.ForeignKeyConstraint(
            ["session_id", "operator_id"],
            ["payment_sessions.id", "payment_sessions.operator_id"],
            name=op.f("fk_events_session_id_operator_id"),
        ),
        sa.ForeignKeyConstraint(
            ["terminal_id", "operator_id"],
            ["terminals.id", "terminals.operator_id"],
            name=op.f("fk_events_terminal_id_operator_id"),
        ),
        sa.PrimaryKeyConstraint("id", "operator_id", name=op.f("pk_events")),
        sa.UniqueConstraint(
            "terminal_id", "number", "operator_id", name=op.f("uq_events_terminal_id_number_operator_id")
        ),
        comment="News for terminal makers, written with the change that it is about.",
    )
    op.create_index("ix_events_operator_id_created_at", "events", ["operator_id", "created_at"], unique=False)
    op.create_index(
        "ix_events_session_id",
        "events",
        ["session_id"],
        unique=False,
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_index(
        "ix_events_unnumbered",
        "events",
        ["terminal_id"],
        unique=False,
        postgresql_where=sa.text("number IS NULL"),
    )
    op.create_table(
        "event_deliveries",
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("operator_id", sa.Text(), nullable=False),
        sa.Column(
            "subject", sa.Text(), nullable=False, comment="session or charge point: its events go in order"
        ),
        sa.Column("version", sa.Integer(), nullable=False, comment="as the event's"),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id", "operator_id"],
            ["event_endpoints.id", "event_endpoints.operator_id"],
            name=op.f("fk_event_deliveries_endpoint_id_operator_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["event_id", "operator_id"],
            ["events.id", "events.operator_id"],
            name=op.f("fk_event_deliveries_event_id_operator_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("endpoint_id", "event_id", "operator_id", name=op.f("pk_event_deliveries")),
        comment="Events that endpoints have not taken yet. A row goes when its event was taken or given up.",
    )
    op.create_index(
        "ix_event_deliveries_endpoint_id_due_at", "event_deliveries", ["endpoint_id", "due_at"], unique=False
    )
    op.create_index(
        "ix_event_deliveries_endpoint_id_subject",
        "event_deliveries",
        ["endpoint_id", "subject", "version", "event_id"],
        unique=False,
    )
    op.create_index("ix_event_deliveries_event_id", "event_deliveries", ["event_id"], unique=False)


def _create_compatibility() -> None:
    """Creates the note of the oldest code that may run on this schema."""
    op.create_table(
        "schema_compatibility",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "oldest_code",
            sa.Text(),
            nullable=False,
            comment="the newest revision that the oldest fit code knows",
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_schema_compatibility_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_compatibility")),
        comment="One row, written by migrations: code that knows this revision may run beside a newer schema.",
    )
    op.execute("INSERT INTO schema_compatibility (id, oldest_code) VALUES (1, '0001')")


def _protect() -> None:
    """Lets a role see the rows of the operator that its transaction names, or of every operator."""
    asked = "current_setting('tapwatt.operator_id', true)"
    for table, mine in PROTECTED.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        visible = f"CASE {asked} WHEN '*' THEN true ELSE {mine} = {asked} END"
        op.execute(f"CREATE POLICY of_operator ON {table} USING ({visible})")


def _create_keys() -> None:
    """Creates keys, the trigger that announces their changes, and who is signed in by one."""
    op.create_table(
        "secret_keys",
        sa.Column(
            "key_id",
            sa.Text(),
            nullable=False,
            comment="derived from TAPWATT_SECRET_KEY; reveals nothing of it",
        ),
        sa.Column(
            "sample", sa.LargeBinary(), nullable=False, comment="a known text, encrypted with this key"
        ),
        sa.Column(
            "active",
            sa.Boolean(),
            nullable=False,
            comment="what is encrypted now is encrypted with this one",
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_secret_keys")),
        comment="Keys that secrets here are encrypted with, to tell a wrong one before anything is written.",
    )
    op.create_index(
        "uq_secret_keys_active",
        "secret_keys",
        ["active"],
        unique=True,
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "evidence_keys",
        sa.Column("key_id", sa.Text(), nullable=False, comment="of the public key's SHA-256"),
        sa.Column("public", sa.Text(), nullable=False, comment="the Ed25519 public key, in hex"),
        sa.Column("vouched_by", sa.Text(), nullable=False, comment="the id of the key that came after it"),
        sa.Column("signature", sa.Text(), nullable=False, comment="of the public key, by that key"),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_evidence_keys")),
        comment="Keys that evidence was signed with before TAPWATT_SECRET_KEY was changed.",
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="terminal or ops"),
        sa.Column("operator_id", sa.Text(), nullable=True, comment="null: an ops key for every operator"),
        sa.Column(
            "terminal_id",
            sa.Text(),
            nullable=True,
            comment="of a terminal's key; a terminal may have several",
        ),
        sa.Column("role", sa.Text(), nullable=True, comment="of an ops key: read, or operate"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="null: never"),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True, comment="to the minute"),
        sa.Column("last_used_from", sa.Text(), nullable=True, comment="the address that last used it"),
        sa.CheckConstraint("kind IN ('terminal', 'ops')", name=op.f("ck_api_keys_kind_is_known")),
        sa.CheckConstraint(
            "(kind = 'terminal') = (terminal_id IS NOT NULL) AND (kind = 'ops' OR operator_id IS NOT NULL)",
            name=op.f("ck_api_keys_owner_fits"),
        ),
        sa.CheckConstraint(
            "(kind = 'ops') = (role IS NOT NULL)", name=op.f("ck_api_keys_only_ops_keys_have_roles")
        ),
        sa.CheckConstraint("role IN ('read', 'operate')", name=op.f("ck_api_keys_role_is_known")),
        sa.ForeignKeyConstraint(["operator_id"], ["operators.id"], name=op.f("fk_api_keys_operator_id")),
        sa.ForeignKeyConstraint(
            ["terminal_id", "operator_id"],
            ["terminals.id", "terminals.operator_id"],
            name=op.f("fk_api_keys_terminal_id_operator_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
        comment="Sessions belong to a terminal, never to one of its keys.",
    )
    op.create_index(
        "ix_api_keys_terminal_id",
        "api_keys",
        ["terminal_id"],
        unique=False,
        postgresql_where=sa.text("terminal_id IS NOT NULL"),
    )
    op.execute(ANNOUNCE_KEY)
    op.execute(WHEN_A_KEY_CHANGES)
    op.create_table(
        "console_sessions",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("ops_key_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the last request; idle sessions end",
        ),
        sa.ForeignKeyConstraint(
            ["ops_key_id"],
            ["api_keys.id"],
            name=op.f("fk_console_sessions_ops_key_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_console_sessions")),
        comment="Who is signed in to the console. The token itself is in the browser only.",
    )


def downgrade() -> None:
    op.drop_index(
        "ix_settlements_failed", table_name="settlements", postgresql_where=sa.text("status = 'failed'")
    )
    op.drop_index("ix_settlements_due", table_name="settlements", postgresql_where=sa.text("status = 'due'"))
    op.drop_table("settlements")
    op.drop_table("kept_readings")
    op.drop_table("journal")
    op.drop_index("ix_holds_session_id", table_name="holds")
    op.drop_table("holds")
    op.drop_table("captures")
    for table in ("event_deliveries", "events", "event_endpoints"):
        op.drop_table(table)
    op.drop_table("outages")
    op.drop_table("schema_compatibility")
    op.drop_table("terminal_charge_points")
    op.drop_index(
        "uq_payment_sessions_active_charge_point",
        table_name="payment_sessions",
        postgresql_where=sa.text("occupies_charge_point"),
    )
    op.drop_index(
        "ix_payment_sessions_operator_id_stop_due_at",
        table_name="payment_sessions",
        postgresql_where=sa.text("stop_due_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_payment_sessions_operator_id_due_at",
        table_name="payment_sessions",
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.drop_index("ix_payment_sessions_operator_id_created_at", table_name="payment_sessions")
    op.drop_index(
        "ix_payment_sessions_not_completed",
        table_name="payment_sessions",
        postgresql_where=sa.text("status <> 'completed'"),
    )
    op.drop_index(
        "ix_payment_sessions_needs_attention",
        table_name="payment_sessions",
        postgresql_where=sa.text("needs_attention"),
    )
    op.drop_index(
        "ix_payment_sessions_card_last4",
        table_name="payment_sessions",
        postgresql_where=sa.text("card_last4 IS NOT NULL"),
    )
    op.drop_index("ix_payment_sessions_display_reference", table_name="payment_sessions")
    op.drop_index("ix_payment_sessions_charge_point_id_created_at", table_name="payment_sessions")
    op.drop_index("ix_payment_sessions_terminal_id_created_at", table_name="payment_sessions")
    op.drop_index("ix_payment_sessions_created_at", table_name="payment_sessions")
    op.drop_index("ix_payment_sessions_card_fingerprint", table_name="payment_sessions")
    op.drop_index("ix_payment_sessions_card_account_reference", table_name="payment_sessions")
    op.drop_table("payment_sessions")
    _drop_keys()
    op.drop_table("terminals")
    op.drop_table("tariffs")
    op.drop_index("ix_polled_reports_session_id", table_name="polled_reports")
    op.drop_table("polled_reports")
    op.drop_table("price_groups")
    op.drop_table("orphans")
    op.drop_index(
        "ix_operator_jobs_due_at",
        table_name="operator_jobs",
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.drop_table("operator_jobs")
    op.drop_table("monta_tokens")
    op.drop_table("monta_budgets")
    op.drop_index(
        "ix_inbox_charge_point_news",
        table_name="inbox",
        postgresql_where=sa.text(
            "applied_at IS NULL AND problem IS NULL AND entity_type IN ('charge-point', 'price-group')"
        ),
    )
    op.drop_index(
        "ix_inbox_news_by_session",
        table_name="inbox",
        postgresql_where=sa.text("applied_at IS NULL AND session_reference IS NOT NULL"),
    )
    op.drop_index(
        "ix_inbox_news_by_charge",
        table_name="inbox",
        postgresql_where=sa.text("applied_at IS NULL AND charge_id IS NOT NULL"),
    )
    op.drop_table("inbox")
    op.drop_index("ix_deliveries_operator_id_received_at", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_table("hold_policies")
    op.drop_index("ix_charge_points_model", table_name="charge_points")
    op.drop_table("charge_points")
    op.drop_table("watchers")
    op.drop_table("alert_runs")
    op.drop_index(
        "uq_alerts_open",
        table_name="alerts",
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.drop_table("alerts")
    _run("DROP TABLE operators", "DROP FUNCTION refuse_change", "DROP FUNCTION keep_settlement")


def _drop_keys() -> None:
    op.drop_table("evidence_keys")
    op.drop_table("secret_keys")
    op.drop_table("console_sessions")
    op.drop_table("api_keys")
    op.execute("DROP FUNCTION announce_key()")
