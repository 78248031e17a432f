"""Pictures of a validation: per class the best hits and the worst misses, with heat-maps."""
