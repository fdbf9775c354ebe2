"""Commands about what is kept of a session: evidence, and what is known of the person behind it."""
