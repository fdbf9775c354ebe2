"""Rules: pure and synchronous. No I/O, no clock, no ids made here, no logging, no framework."""
