"""Many runs of one experiment: a study of Optuna, trained by local processes or on a Ray cluster."""
