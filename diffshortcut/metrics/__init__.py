"""Metrics: each turns the evidence of one cell and person into rows."""
