"""Faults that the simulator can inject: their catalog, their schedule, their effects."""
