"""Use cases of the watcher for one operator. Sync, sweep, reconcile, check credentials and captures."""
