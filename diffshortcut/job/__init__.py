"""One job: from its command line to its results folder, or the answer that it is there."""
