"""How fast the attacks are, beside plain versions of the published loops."""
