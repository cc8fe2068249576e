"""Pictures as batches: files in and out, squares, filters and random transforms."""
