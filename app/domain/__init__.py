"""Pure, synchronous rules. No I/O, no clock, no ids made here, no logging, no framework."""
