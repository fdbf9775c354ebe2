"""Rows of payment sessions and of what belongs to them. Holds, settlements, journal, inbox, leases."""
