"""Money, energy and identifiers: the values that all other modules use."""
