"""Where a fit is written down: MLflow, as a listener to its events."""
