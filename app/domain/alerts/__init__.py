"""Alerts to operations: which causes open and close them, and when a message about them is due."""
