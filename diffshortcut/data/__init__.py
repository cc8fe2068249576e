"""Readers of people's images."""
