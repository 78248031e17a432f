"""What can be known of scans before any work: what is there, what would be refused, and why."""
