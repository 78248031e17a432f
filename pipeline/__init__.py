"""What happens to the data: read, check, prepare, adapt, measure, score. Knows no Prefect."""
