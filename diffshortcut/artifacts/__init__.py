"""Artifacts: what an artifact is called, where it lies, who may write it, where it comes from."""
