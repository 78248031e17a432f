"""`strategy: auto`: the cheapest adaptation that evidence from the target supports, or a refusal."""
