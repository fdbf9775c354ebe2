"""Use cases of Monta's webhooks."""
