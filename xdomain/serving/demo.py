"""The models of the demo: SharedVAE for cold-start users and EASE, on MovieLens."""

import pathlib
from collections.abc import Callable

import xdomain
from xdomain.data.readers import download

# Epochs that validation chose on MovieLens, seed 0 (results/sharedvae_table7).
EPOCHS = {'shared_vae_cold': 16, 'ease': 1}


def artefacts(say: Callable[[str], object] = print) -> list[pathlib.Path]:
  """The folders of both artefacts, trained where they are missing.

  Args:
    say: called with a line for each step.

  Raises:
    DataError: MovieLens can neither be found nor fetched.
  """
  folder = download.cache_dir() / 'demo' / xdomain.__version__
  return [_artefact(folder / name, name, say) for name in EPOCHS]


def _artefact(folder, name, say):
  from xdomain import api
  from xdomain.data import sources
  from xdomain.runs import artifact, defaults

  if not artifact.is_artifact(folder):
    spec = defaults.spec_of(name)
    dataset = sources.dataset(say=say, **spec.data)
    say(f'training {name} on {dataset.name}')
    folder.parent.mkdir(parents=True, exist_ok=True)
    api.fit_everything(spec, dataset, EPOCHS[name]).save(folder)
  return folder
