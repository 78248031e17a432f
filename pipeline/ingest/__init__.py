"""From files on disk to trusted scans: find, examine, group, check, catalogue, read, convert."""
