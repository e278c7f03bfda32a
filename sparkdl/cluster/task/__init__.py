"""A task of the barrier stage: it meets the others, starts its rank and supervises it."""
