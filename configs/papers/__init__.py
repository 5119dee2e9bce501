"""The numbers and claims of the papers, as data."""
