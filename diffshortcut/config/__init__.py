"""The config: a command line's words checked, completed, and made arms of a comparison."""
