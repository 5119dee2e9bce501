"""Pure mathematics of arrays: no data, no networks, no settings."""
