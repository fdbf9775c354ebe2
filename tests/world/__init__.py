"""The simulated world: all of Tapwatt with faults and virtual time, from one seed."""
