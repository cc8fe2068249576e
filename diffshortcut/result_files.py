"""What the files of a results folder are called."""

ROWS = "rows.jsonl"  # every score of every image: all other files are views of it
COMPARISON = "comparison.json"  # what the tests say
TABLE = "table.md"
PRINTED = "table.txt"  # the table as it was printed
GALLERY = "gallery.png"
RECORD = "record.json"  # written last: a folder with a valid one is complete
