"""Evidence of one payment session: hash chain, bundle, verification. The chain is the journal's; the bundle is handed
out."""
