"""Evidence of one payment session: the journal's hash chain, the bundle that is handed out, its verification."""
