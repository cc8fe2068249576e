"""What stages will take, told before they run: operations and memory without weights, and time."""
