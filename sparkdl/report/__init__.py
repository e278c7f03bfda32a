"""What a fit tells while it runs: events, progress, the ranks' output."""
