"""Stages as one graph: merged over arms and people, and made one after the other."""
