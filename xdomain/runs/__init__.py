"""One `Spec` -> one run folder -> records, and what is left of a run."""
