"""Compiled programs are kept, so that a second start compiles nothing."""

import contextlib
import os
import pathlib

import jax

from xdomain.data.readers import download

MOST_BYTES = 2**30  # of compiled programs that are kept


def keep() -> None:
  """Keeps compiled programs beside the data, unless jax has a folder for them."""
  if jax.config.jax_compilation_cache_dir is not None:
    return
  folder = download.cache_dir() / 'compiled'
  with contextlib.suppress(OSError):
    folder.mkdir(parents=True, exist_ok=True)
  if os.access(folder, os.W_OK | os.X_OK):  # Otherwise nothing is kept.
    jax.config.update('jax_compilation_cache_dir', str(folder))
    # Small programs too: a second start compiles nothing.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    bound(folder, MOST_BYTES)


def bound(folder: pathlib.Path, most: int) -> None:
  """Deletes the oldest files of a folder until the rest holds at most `most` bytes.

  jax can bound its cache itself, but then fails on a file that an earlier version or
  a killed process left behind.
  """
  with contextlib.suppress(OSError):  # Another command may be at work there.
    found = [(path, path.stat()) for path in folder.iterdir()]
    found.sort(key=lambda each: each[1].st_mtime, reverse=True)
    total = 0
    for path, about in found:
      total += about.st_size
      if total > most:
        path.unlink()
