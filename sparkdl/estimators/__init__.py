"""The estimators and their models, a file for each task."""
