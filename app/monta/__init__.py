"""Monta's Partner API: the only package with outgoing HTTP."""
