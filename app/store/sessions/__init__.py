"""Rows of payment sessions and of what belongs to them: holds, settlements, journal, inbox, leases."""
