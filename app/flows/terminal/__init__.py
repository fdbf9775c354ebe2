"""Use cases of payment terminals: authorize, top up, stop, report captures."""
