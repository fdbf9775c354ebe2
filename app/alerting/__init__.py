"""Sends alerts to operations: as a signed webhook and as e-mail."""
