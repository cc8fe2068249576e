"""Views of the rows: table, comparison, gallery, W&B. No torch."""
