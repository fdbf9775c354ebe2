"""Money, energy and identifiers: the values that every other module speaks in."""
