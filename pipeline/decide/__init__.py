"""Where a score becomes a decision: the conformal scale of held-out normals, policies, and how they are changed."""
