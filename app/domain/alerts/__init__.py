"""Alerts to operations: causes that open them, and messages about them. When each is due."""
