"""How fast everything is, beside plain versions of the published loops."""
