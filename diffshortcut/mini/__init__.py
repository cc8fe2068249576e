"""The small embedded world: how its portraits are drawn and how its models are trained."""
