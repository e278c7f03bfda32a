"""Rows through a trained network: on executors (`transform`) and in one process (`local`)."""
