"""What a stage will compute and hold in memory, told before it runs, without weights."""
