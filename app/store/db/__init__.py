"""Connections, transactions, retries, notifications, the schema's version and encryption at rest."""
