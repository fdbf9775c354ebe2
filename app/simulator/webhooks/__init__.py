"""The simulator's webhooks: configuration, outbox and delivery."""
