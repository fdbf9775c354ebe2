"""The state machine as tables: status transitions, phases, and the journal kinds that record both."""
