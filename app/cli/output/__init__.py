"""How commands print: tables, a live table, a chart, JSON. Tables fit the terminal."""
