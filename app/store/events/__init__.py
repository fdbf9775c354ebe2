"""Endpoints of terminal makers, events, and their deliveries."""
