"""Trainers: how a model learns a person from a few images."""
