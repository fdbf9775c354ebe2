"""Pure, synchronous rules: no I/O, no clock, no ids made here, no logging, no framework."""
