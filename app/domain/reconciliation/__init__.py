"""Compares what was held, what the PSP moved and what Monta charges, session by session and in sums."""
