"""The stages of one cell: each a plain function from (inputs, config, draws) to an artifact."""
