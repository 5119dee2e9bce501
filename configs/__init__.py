"""One config a method; the argument behind the colon chooses the variant."""
