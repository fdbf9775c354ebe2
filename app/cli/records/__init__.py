"""Commands about what is kept of a session: evidence and personal data."""
