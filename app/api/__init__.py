"""Translates HTTP to domain values and back."""
