"""Finds the export of an artefact or a run; one that is missing is made and kept."""

import hashlib
import pathlib
from collections.abc import Callable

import xdomain
from xdomain.data.readers import download
from xdomain.serving import portable

Say = Callable[[str], object]


def is_export(folder: str | pathlib.Path) -> bool:
  """Whether a folder holds an export, of any version."""
  return (pathlib.Path(folder) / portable.ARRAYS).exists()


def find(name: str | pathlib.Path, workdir: str = 'runs', say: Say = print):
  """The folder of an export, given by itself, by an artefact, or by a run.

  Args:
    name: a folder, or the name or the hash of runs.
    workdir: where runs are found by their names.
    say: called with a line where an export has to be made.

  Raises:
    SpecError: there is no such run.
    ArtifactError: the artefact cannot be read.
  """
  if is_export(name):
    return pathlib.Path(name)
  from xdomain import api  # A service of exports needs none of this.
  from xdomain.runs import store
  from xdomain.serving import export

  folder = store.find_trained(name, workdir)
  content = hashlib.sha256(f'{xdomain.__version__} {portable.FORMAT}'.encode())
  for file in sorted(folder.iterdir()):
    content.update(portable.digest(file).encode())
  kept = download.cache_dir() / 'exported' / content.hexdigest()[:16]
  if not is_export(kept):
    say(f'exporting {name} to {kept}')
    kept.parent.mkdir(parents=True, exist_ok=True)
    export.save(kept, api.load(folder))
  return kept
