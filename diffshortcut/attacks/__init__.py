"""Protective perturbations: a file per attack; pgd.py is the loop they share."""
