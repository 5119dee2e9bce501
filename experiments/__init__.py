"""Commands: the only places that read flags and print."""
