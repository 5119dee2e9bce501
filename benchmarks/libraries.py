r"""Factor models here and in libraries, tested on the identical split.

pip install -e '.[bench]'
python -m benchmarks.libraries
python -m benchmarks.libraries --quick       # on synthetic data

Here: runs of the configs, which are shown from their records where they have
been made. A library's settings are those of a small grid, all on the same
training data, with the best value on the same validation data; only that one is
tested. Ratings are judged by RMSE; rankings, among the same negatives, by
NDCG@10, which selects, and HR@10. A library that is not installed is passed
over.

Twenty minutes on two CPU cores.
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
from xdomain.evaluation import rankings

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]  # users, items [Q]


class Task(NamedTuple):
  """A task: its measures, and the function that judges predictions by them."""

  measures: tuple[str, ...]  # the first selects, the last is compared
  judge: Callable  # (predict, held, scale) -> a value of each
  higher: bool  # is better


class Library(NamedTuple):
  """A library's form of a model that a config has here."""

  config: str
  name: str
  install: str  # what pip takes
  fit: Callable[..., Predict]  # (training pair, **settings) -> predict
  grid: dict[str, tuple]  # of settings


class Result(NamedTuple):
  """The setting that validation chose, and its test."""

  settings: dict[str, Any]
  valid: float
  test: tuple[float, ...]  # of each measure


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
      None,
      pair.target.value,
      features(*pair.target[:2]),
      group_shapes=[*source.shape, pair.target.n_items],
      **settings,
    )
  return lambda users, items: machine.predict(None, features(users, items))


def implicit_bpr(pair, **settings) -> Predict:
  """BPR; its negatives are drawn by popularity."""
  from implicit import bpr

  return _implicit(bpr.BayesianPersonalizedRanking, pair, **settings)


def implicit_als(pair, **settings) -> Predict:
  """Alternating least squares over all cells."""
  from implicit import als

  return _implicit(als.AlternatingLeastSquares, pair, **settings)


def _implicit(make, pair, **settings):
  import threadpoolctl

  with threadpoolctl.threadpool_limits(1, 'blas'):  # It has its own threads.
    machine = make(random_state=0, **settings)
    machine.fit(matrix(pair.target), show_progress=False)
  return dot(machine.user_factors, machine.item_factors)


def cornac_bpr(pair, **settings) -> Predict:
  """BPR with uniform negatives and item biases."""
  import cornac

  target = pair.target
  columns = (column.tolist() for column in target[:3])
  data = cornac.data.Dataset.from_uir(list(zip(*columns)))
  machine = cornac.models.BPR(seed=0, num_threads=0, **settings).fit(data)
  bias = np.ones((len(machine.u_factors), 1)), machine.i_biases[:, None]
  tables = []
  for table, column, ids, n in zip(
    (machine.u_factors, machine.i_factors),
    bias,
    (data.uid_map, data.iid_map),
    target[4:6],
  ):
    every = np.zeros((n, table.shape[1] + 1), np.float32)  # Under our ids.
    every[list(ids)] = np.hstack([table, column])[list(ids.values())]
    tables.append(every)
  return dot(*tables)


def dot(users, items) -> Predict:
  """Products of two tables' rows."""
  return lambda user, item: np.einsum('qh,qh->q', users[user], items[item])


def matrix(ratings):
  """A scipy matrix of a domain's ratings."""
  from scipy import sparse

  at = ratings.user, ratings.item
  shape = ratings.n_users, ratings.n_items
  return sparse.csr_matrix((ratings.value.astype(np.float64), at), shape)


def _svd(config, biased):
  grid = dict(
    biased=(biased,),
    n_factors=(64,),
    reg_all=(0.05, 0.06, 0.07),
    n_epochs=(50, 100),
  )
  name = f'Surprise SVD(biased={biased})'
  return Library(config, name, 'scikit-surprise', surprise_svd, grid)


RATING_LIBRARIES = (
  _svd('configs/pmf.py', False),
  _svd('configs/biased_mf.py:explicit', True),
  Library(
    'configs/cmf.py:als',
    'cmfrec CMF',
    'cmfrec threadpoolctl',
    cmfrec_cmf,
    dict(k=(8, 16), lambda_=(7.0, 14.0), w_user=(0.5, 1.0), niter=(30,)),
  ),
  Library(
    'configs/fm_cdcf.py',
    'myFM',
    'myfm',
    myfm_gibbs,
    dict(rank=(8, 16, 32), n_iter=(200,), n_kept_samples=(180,)),
  ),
)


RANKING_LIBRARIES = (
  Library(
    'configs/bpr.py',
    'cornac BPR',
    'cornac',
    cornac_bpr,
    dict(
      k=(64,),
      learning_rate=(0.02, 0.05),
      lambda_reg=(0.005, 0.01, 0.02),
      max_iter=(50, 100),
    ),
  ),
  Library(
    'configs/bpr.py',
    'implicit BPR',
    'implicit threadpoolctl',
    implicit_bpr,
    dict(
      factors=(64,),
      learning_rate=(0.02, 0.05),
      regularization=(0.005, 0.01, 0.02),
      iterations=(50, 100),
    ),
  ),
  Library(
    'configs/ials.py',
    'implicit ALS',
    'implicit threadpoolctl',
    implicit_als,
    dict(
      factors=(16, 32),
      regularization=(1.0, 10.0, 30.0),
      alpha=(1.0, 4.0),
      iterations=(20,),
    ),
  ),
)


def rmse(predict, held, scale):
  """The RMSE of predictions clipped to the scale."""
  rated = np.clip(predict(held.user, held.item), *scale)
  return (float(np.sqrt(np.mean((rated - held.value) ** 2))),)


def ndcg_and_hr(predict, held, scale):
  """Measures of held-out items among their negatives; ties count against them."""
  del scale
  items = np.concatenate([held.item[:, None], held.negatives], axis=1)
  users = np.broadcast_to(held.user[:, None], items.shape)
  scores = predict(users.ravel(), items.ravel()).reshape(items.shape)
  above = ~(scores[:, 1:] < scores[:, :1]) & (held.negatives >= 0)
  gains = rankings.gains(above.sum(axis=1)).mean(axis=0)
  values = dict(zip(rankings.names(), gains.tolist()))
  return tuple(values[name] for name in RANKING.measures)


RATING = Task(('rmse',), rmse, higher=False)
RANKING = Task(('ndcg@10', 'hr@10'), ndcg_and_hr, higher=True)
TASKS = ((RATING, RATING_LIBRARIES), (RANKING, RANKING_LIBRARIES))


def chosen(library, task, split, scale) -> Result:
  """The best of a library's grid by validation, tested."""

  def trial(values):
    settings = dict(zip(library.grid, values))
    predict = library.fit(split.train, **settings)
    valid, *_ = task.judge(predict, split.valid.target, scale)
    return settings, valid, predict

  trials = map(trial, itertools.product(*library.grid.values()))
  best = max if task.higher else min
  settings, valid, predict = best(trials, key=lambda trial: trial[1])
  return Result(settings, valid, task.judge(predict, split.test.target, scale))


def here(config, task, prepared, workdir) -> Result:
  """A run of a config."""
  from xdomain.runs import run, store

  folder = store.folder_of(config, workdir)
  (record,) = run.run(config, prepared, folder, watch=lambda report: None)
  test = record['test'].get('sampled', record['test'])
  return Result(
    config.hyper,
    record[f'valid_{task.measures[0]}'],
    tuple(test[name] for name in task.measures),
  )


def table(task, libraries, quick, workdir) -> Iterator[str]:
  """The lines of the table, and what is not in it."""
  from xdomain.runs import prepare
  from xdomain.runs import spec as specs

  configs = [
    specs.from_config(baselines.load(library.config, quick)) for library in libraries
  ]
  prepared = prepare.prepare(configs[0], say=lambda line: None)
  yield baselines.line(header(task))
  yield baselines.line(['---'] * len(header(task)))
  missing = {}
  for library, config in zip(libraries, configs):
    train = prepare.VIEWS[config.view](prepared.dataset, prepared.split.train)
    split = prepared.split._replace(train=train)
    try:
      theirs = chosen(library, task, split, prepared.dataset.scale)
    except ModuleNotFoundError as error:
      missing[library.install] = error.name
      continue
    ours = here(config, task, prepared, workdir)
    yield line_of(config.name, ours, library.name, theirs)
  for install, name in missing.items():
    yield f'\nNo module {name!r}: pip install {install}'


def header(task) -> tuple[str, ...]:
  """The columns of a task's table."""
  values = f'valid {task.measures[0]}', *(f'test {m}' for m in task.measures)
  last = f'{task.measures[-1]} here less library', "library's settings"
  return 'here', *values, 'library', *values, *last


def line_of(name, ours, library, theirs) -> str:
  """A row of the table."""
  settings = ', '.join(f'{k}={v}' for k, v in theirs.settings.items())
  return baselines.line(
    (
      name,
      *(f'{value:.4f}' for value in (ours.valid, *ours.test)),
      library,
      *(f'{value:.4f}' for value in (theirs.valid, *theirs.test)),
      f'{ours.test[-1] - theirs.test[-1]:+.4f}',
      settings,
    )
  )


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  workdir = pathlib.Path(flags.FLAGS.workdir)
  for task, libraries in TASKS:
    for text in table(task, libraries, flags.FLAGS.quick, workdir):
      print(text, flush=True)
    print()


if __name__ == '__main__':
  # Not at import: flags of all benchmarks share one space of names.
  flags.DEFINE_bool('quick', False, 'Small settings, on synthetic data.')
  flags.DEFINE_string('workdir', 'runs', 'Where run folders go.')
  app.run(main)
