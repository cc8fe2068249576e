"""Samplers: what a personalized model is asked for, and how it is led to answer."""
