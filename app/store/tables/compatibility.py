"""Which older versions of the code may run on this schema."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Table, Text

from app.store.tables.base import metadata

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("oldest_code", Text, nullable=False, comment="the newest revision that the oldest fit code knows"),
    CheckConstraint("id = 1", name="one_row"),
    comment="One row, written by migrations: code that knows this revision may run beside a newer schema.",
)
