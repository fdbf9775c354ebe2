"""Monta's Partner API: the only room with outgoing HTTP."""
