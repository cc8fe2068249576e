"""The config: from the words of a command line to checked arms of a comparison."""
