"""One row for each night of scheduled scoring: what arrived, how it was scored, whether it drifts."""
