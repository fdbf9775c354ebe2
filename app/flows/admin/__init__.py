"""Use cases of operations: queries, provisioning, set-up checks, manual settlements."""
