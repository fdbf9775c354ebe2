"""Compares holds, the PSP's reports and Monta's prices. Session by session and in sums."""
