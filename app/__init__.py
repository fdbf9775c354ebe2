"""Tapwatt: card payment at EV chargers on Monta."""
