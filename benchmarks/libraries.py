r"""Test RMSE of factor models here and in libraries, on the identical split.

pip install -e '.[bench]'
python -m benchmarks.libraries
python -m benchmarks.libraries --quick       # on synthetic data

Here: runs of the configs, which are shown from their records where they have
been made. A library's settings are those of a small grid, all on the same
training ratings, with the best RMSE on the same validation ratings; only that
one is tested. A library that is not installed is passed over.

Ten minutes on two CPU cores. Test RMSE here less the library's on the MovieLens
pair: PMF +.0008, with biases -.0012, CMF +.0009; FM-CDCF +.0125, where myFM
averages samples of the posterior and we take one point.
"""

import contextlib
import io
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags, logging

from benchmarks import baselines

HEADER = (
  'here', 'valid', 'test', 'library', 'valid', 'test', 'here less library',
  "library's settings",
)  # fmt: skip

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]  # users, items [Q]


class Library(NamedTuple):
  """A library's form of a model that a config has here."""

  config: str
  name: str
  install: str  # what pip takes
  fit: Callable[..., Predict]  # (training pair, **settings) -> predict
  grid: dict[str, tuple]  # of settings


class Result(NamedTuple):
  """What validation chose, and how it did."""

  settings: dict[str, Any]
  valid: float
  test: float


def surprise_svd(pair, *, biased, **settings) -> Predict:
  """Stochastic gradient descent over the target's ratings."""
  import surprise

  columns = (column.tolist() for column in pair.target[:3])
  raw = [(user, item, value, None) for user, item, value in zip(*columns)]
  ratings = surprise.Dataset(surprise.Reader()).construct_trainset(raw)
  svd = surprise.SVD(biased=biased, random_state=0, **settings).fit(ratings)

  def predict(users, items):
    ids = zip(users.tolist(), items.tolist())
    return np.array([svd.predict(*pair, clip=False).est for pair in ids])

  return predict


def cmfrec_cmf(pair, **settings) -> Predict:
  """Alternating least squares, the source as attributes of the users."""
  import cmfrec

  cmf = cmfrec.CMF(
    user_bias=False, item_bias=False, use_cg=False, random_state=0, **settings
  )
  cmf.fit(X=matrix(pair.target).tocoo(), U=matrix(pair.source).tocoo())
  return cmf.predict


def myfm_gibbs(pair, *, rank, **settings) -> Predict:
  """Gibbs sampling, a user's mean-weighted source ratings as one block."""
  import myfm
  from scipy import sparse

  source = matrix(pair.source)
  count = np.maximum(1, np.diff(source.indptr))
  blocks = (
    sparse.hstack(
      [sparse.eye(source.shape[0]), sparse.diags(1 / count) @ source], 'csr'
    ),
    sparse.eye(pair.target.n_items, format='csr'),
  )

  def features(users, items):
    ids = users, items
    return [myfm.RelationBlock(i, block) for i, block in zip(ids, blocks)]

  machine = myfm.MyFMRegressor(rank, random_seed=0)
  with contextlib.redirect_stderr(io.StringIO()):  # A progress bar.
    machine.fit(
      None, pair.target.value, features(*pair.target[:2]),
      group_shapes=[*source.shape, pair.target.n_items], **settings,
    )  # fmt: skip
  return lambda users, items: machine.predict(None, features(users, items))


def matrix(ratings):
  """A scipy matrix of a domain's ratings."""
  from scipy import sparse

  at = ratings.user, ratings.item
  shape = ratings.n_users, ratings.n_items
  return sparse.csr_matrix((ratings.value.astype(np.float64), at), shape)


def _svd(config, biased):
  grid = dict(
    biased=(biased,), n_factors=(64,), reg_all=(0.05, 0.06, 0.07),
    n_epochs=(50, 100),
  )  # fmt: skip
  name = f'Surprise SVD(biased={biased})'
  return Library(config, name, 'scikit-surprise', surprise_svd, grid)


LIBRARIES = (
  _svd('configs/pmf.py', False),
  _svd('configs/biased_mf.py:explicit', True),
  Library(
    'configs/cmf.py:als', 'cmfrec CMF', 'cmfrec threadpoolctl', cmfrec_cmf,
    dict(k=(8, 16), lambda_=(7.0, 14.0), w_user=(0.5, 1.0), niter=(30,)),
  ),
  Library(
    'configs/fm_cdcf.py', 'myFM', 'myfm', myfm_gibbs,
    dict(rank=(8, 16, 32), n_iter=(200,), n_kept_samples=(180,)),
  ),
)  # fmt: skip


def chosen(library, split, scale) -> Result:
  """The best of a library's grid by validation RMSE, tested."""

  def trial(values):
    settings = dict(zip(library.grid, values))
    predict = library.fit(split.train, **settings)
    return settings, rmse(predict, split.valid.target, scale), predict

  trials = map(trial, itertools.product(*library.grid.values()))
  settings, valid, predict = min(trials, key=lambda trial: trial[1])
  return Result(settings, valid, rmse(predict, split.test.target, scale))


def rmse(predict, held, scale):
  """Of predictions clipped to the scale."""
  rated = np.clip(predict(held.user, held.item), *scale)
  return float(np.sqrt(np.mean((rated - held.value) ** 2)))


def here(config, prepared, workdir) -> Result:
  """A run of a config."""
  from experiments import run

  folder = run.folder_of(config, workdir)
  (record,) = run.run(config, prepared, folder, watch=lambda report: None)
  return Result(
    config.hyper.to_dict(), record['valid_rmse'], record['test']['rmse']
  )


def table(libraries, quick, workdir) -> Iterator[str]:
  """The lines of the table, and what is not in it."""
  from experiments import run

  configs = [baselines.load(library.config, quick) for library in libraries]
  prepared = run.prepare(configs[0], say=lambda line: None)
  yield baselines.line(HEADER)
  yield baselines.line(['---'] * len(HEADER))
  missing = {}
  for library, config in zip(libraries, configs):
    try:
      theirs = chosen(library, prepared.split, prepared.dataset.scale)
    except ModuleNotFoundError as error:
      missing[library.install] = error.name
      continue
    ours = here(config, prepared, workdir)
    yield line_of(config.name, ours, library.name, theirs)
  for install, name in missing.items():
    yield f'\nNo module {name!r}: pip install {install}'


def line_of(name, ours, library, theirs) -> str:
  """A row of the table."""
  settings = ', '.join(f'{k}={v}' for k, v in theirs.settings.items())
  return baselines.line((
    name,
    *(f'{value:.4f}' for value in (ours.valid, ours.test)),
    library,
    *(f'{value:.4f}' for value in (theirs.valid, theirs.test)),
    f'{ours.test - theirs.test:+.4f}',
    settings,
  ))  # fmt: skip


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  workdir = pathlib.Path(flags.FLAGS.workdir)
  for text in table(LIBRARIES, flags.FLAGS.quick, workdir):
    print(text, flush=True)


if __name__ == '__main__':
  # Not at import: flags of all benchmarks share one space of names.
  flags.DEFINE_bool('quick', False, 'Small settings, on synthetic data.')
  flags.DEFINE_string('workdir', 'runs', 'Where run folders go.')
  app.run(main)
