"""The state machine as tables: transitions, phases, journal kinds."""
