"""The parts of `make bench`: each is a mapping of names to jobs that measure."""
