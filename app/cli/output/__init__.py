"""How commands print: tables that fit the terminal, a live table, a chart, JSON."""
