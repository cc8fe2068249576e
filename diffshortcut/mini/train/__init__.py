"""Recipes: one file per trained model, one command (`make mini`) for all of them."""
