"""The memory of a process, as Linux counts it."""

import pathlib
import re


def mebibytes(pid: int | str = 'self', kind: str = 'VmRSS') -> float:
  """Resident memory of a process, in MiB; RssAnon is what it shares with no file."""
  status = pathlib.Path(f'/proc/{pid}/status').read_text()
  return int(re.findall(rf'{kind}:\s+(\d+)', status)[0]) / 2**10
