"""How good the predictions are, class by class and site by site, with intervals, and the report that says so."""
