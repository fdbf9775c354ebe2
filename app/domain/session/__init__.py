"""The payment session: its data, its state machine, its rules."""
