"""Monta's charges, charge points and price groups as values, and the rules about them alone."""
