"""Tables, plots and archives of runs."""
