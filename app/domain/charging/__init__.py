"""Monta's charges, charge points and price groups as values, with their rules."""
