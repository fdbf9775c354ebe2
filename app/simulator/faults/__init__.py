"""Faults that the simulator can inject: which there are, when they are due, what they do."""
