"""Models by role: each file loads one kind of weights and says what the model does."""
