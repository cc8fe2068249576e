"""Artifacts: keys, store, leases, checkpoints on the way, where they come from, what they took."""
