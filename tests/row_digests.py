"""Digests of a database's rows, as the superuser sees them, to see what an act has changed."""

import asyncpg

from tests.postgres import as_superuser

TABLES = """
SELECT relname, EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'operator_id' AND NOT attisdropped
) AS of_operators
FROM pg_class AS c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname
"""
ROWS = "SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {} AS t WHERE {}"
CONTAINED = "strpos(t::text, $1) > 0"
"""Of tables without the column: the operators themselves, and what names them."""


async def contents(database_url: str, operator_id: str | None = None) -> dict[str, str]:
    """A digest of every table's rows, or of those of one operator."""
    connection = await asyncpg.connect(as_superuser(database_url))
    try:
        found = {}
        for row in await connection.fetch(TABLES):
            owned = "operator_id = $1" if row["of_operators"] else CONTAINED
            query = ROWS.format(row["relname"], "true" if operator_id is None else owned)
            given = [] if operator_id is None else [operator_id]
            found[row["relname"]] = await connection.fetchval(query, *given)
        return found
    finally:
        await connection.close()
