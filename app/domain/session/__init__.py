"""The payment session: its data, its state machine, and every rule that changes it."""
