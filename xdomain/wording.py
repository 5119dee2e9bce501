"""Words for messages."""

import difflib
from collections.abc import Iterable


def instead(word: str, known: Iterable[str]) -> str:
  """The end of a message about an unknown word: the nearest one, and all."""
  known = list(known)
  near = difflib.get_close_matches(word, known, 1, cutoff=0.4)
  did_you_mean = f'; did you mean {near[0]!r}?' if near else ';'
  return f'{did_you_mean} it takes {", ".join(known) or "nothing"}'
