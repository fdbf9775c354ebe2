"""Rows of operators and of what belongs to them: terminals, charge points, prices, jobs, orphans."""
