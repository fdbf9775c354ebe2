"""The simulated charge points: vehicles, power, charges and their prices over time."""
