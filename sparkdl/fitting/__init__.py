"""The parts of a fit on the driver that all estimators share."""
