"""Rows of operators and of what belongs to them. Terminals, charge points, prices, jobs, orphans."""
