"""What works on this machine: one check each of packages, weights, decoders, database, disk, clock and silence."""
