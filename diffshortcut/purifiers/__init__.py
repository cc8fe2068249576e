"""Purifiers: what removes a protective perturbation before personalization, a file per family."""
