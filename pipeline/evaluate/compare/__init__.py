"""Two validations of the same scans, paired: read, match, measure, word, page, write."""
