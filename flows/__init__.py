"""When and in what order: Prefect flows, schedules, artifacts and the command line."""
