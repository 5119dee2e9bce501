r"""One epoch of every method, and of the libraries that have it too.

python -m benchmarks.baselines
python -m benchmarks.baselines --quick    # small settings and synthetic data
python -m benchmarks.baselines --recbole=<its environment>/bin/python

A row is a stage of a method, at the settings of its config: the ratings that an
epoch visits, of both domains where it trains on both, the fastest of a few
epochs after one that does not count, the parameters, and the compilation, which
is timed apart.

Under a method stands the library that one would use instead, if installed, on
the same ratings, with the same parameters and as many threads as it likes. A
sweep of its own algorithm stands for an epoch. Its set-up does not count:
seconds are those of a long fit less those of a short one. RecBole cannot be
installed beside jax (`recbole_epoch.py`): `--recbole` says where it is.
"""

import contextlib
import io
import json
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags, logging

from benchmarks import autorec

RATERS = (
  'configs/bias.py',
  'configs/item_knn_rating.py',
  'configs/pmf.py',
  'configs/pmf.py:sgd',
  'configs/biased_mf.py',
  'configs/biased_mf.py:explicit,sgd',
  'configs/cmf.py',
  'configs/cdtf.py',
  'configs/fm_cdcf.py',
  'configs/rbm.py:item',
  'configs/rbm.py:user',
  'configs/cf_nade.py:item',
  'configs/cf_nade.py:user',
  'configs/autorec.py:item',
  'configs/autorec.py:user',
  'configs/conet_rating.py',
  'configs/darec.py:item',
  'configs/darec.py:user',
)
RANKERS = (
  'configs/item_pop.py',
  'configs/item_knn.py',
  'configs/ease.py',
  'configs/ridge.py',
  'configs/bpr.py',
  'configs/mlp.py',
  'configs/cmf_implicit.py',
  'configs/ials.py',
  'configs/ials.py:cg',
  'configs/emcdr.py',
  'configs/conet.py',
  'configs/mult_vae.py',
  'configs/shared_vae.py:single',
  'configs/shared_vae.py',
)
SWEEPS = 10  # of a library, between the two fits
HEADER = (
  'method',
  'epoch of',
  'ratings',
  'seconds',
  'ratings/s',
  'parameters',
  'compile s',
)


class Timed(NamedTuple):
  """The cells of a row of the table."""

  method: str
  stage: str
  ratings: float  # that an epoch visits
  seconds: float
  parameters: int
  compiled: float | None = None  # seconds


class Library(NamedTuple):
  """A fit of another library, to be timed."""

  name: str
  sweep: str  # what its epoch is
  fit: Callable[[int], object]  # of a number of sweeps
  parameters: int


def load(text, quick):
  """The config of a method, or its quick form."""
  from experiments import arguments

  if quick:
    text += ',quick,synthetic' if ':' in text else ':quick,synthetic'
  return arguments.load(text)


def epochs(name, config, prepared, repeats) -> Iterator[Timed]:
  """An epoch of each stage of a method, timed after one that does not count."""
  from xdomain.runs import methods
  from xdomain.runs import spec as specs

  method = methods.of(specs.from_config(config), prepared.sizes)
  done = ()
  for stage in method.model.stages:
    form = compiled(stage, prepared.data, method.hyper, done)
    _, (state, metrics, _) = autorec.epoch(form)
    yield Timed(
      name,
      stage.name,
      float(metrics['ratings']),
      min(autorec.epoch(form)[0] for _ in range(repeats)),
      n_parameters(state),
      form.compiled,
    )
    done = (*done, stage.keep(state))


def compiled(stage, data, hyper, done) -> autorec.Form:
  """The epoch of a stage, as `train.fit` runs it."""
  from xdomain.training import loop

  key = jax.random.key(0)
  state = jax.jit(stage.init)(key, data, hyper, done)
  rest = key, data, hyper
  started = time.perf_counter()
  program = loop.epoch.lower(stage, state, *rest).compile()
  seconds = time.perf_counter() - started
  return autorec.Form(program, state, rest, lambda out: out, seconds)


def n_parameters(state):
  params = getattr(state, 'params', state)
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def sweeps(library, ratings, repeats) -> Timed:
  """A sweep over so many ratings of a library's fit, without its set-up."""

  def fastest(n):
    return min(_seconds(lambda: library.fit(n)) for _ in range(repeats))

  seconds = (fastest(1 + SWEEPS) - fastest(1)) / SWEEPS
  return Timed(library.name, library.sweep, ratings, seconds, library.parameters)


def _seconds(function):
  started = time.perf_counter()
  with contextlib.redirect_stderr(io.StringIO()):  # Progress bars.
    function()
  return time.perf_counter() - started


def surprise_svd(data, config) -> Library:
  """Surprise: stochastic gradient descent, one thread."""
  import surprise

  rows, factors = data.target.by_user, config.model.factors
  columns = (np.asarray(x).tolist() for x in (rows.row, rows.column, rows.value))
  raw = [(user, item, value, None) for user, item, value in zip(*columns)]
  ratings = surprise.Dataset(surprise.Reader()).construct_trainset(raw)
  biased = config.method == 'biased_mf'

  def fit(n):
    svd = surprise.SVD(factors, n, biased, random_state=0)
    return svd.fit(ratings)

  size = (rows.n_rows + rows.n_columns) * (factors + biased)
  name = f'Surprise SVD(biased={biased})'
  return Library(name, 'SGD', fit, size)


def cmfrec_als(data, config) -> Library:
  """cmfrec: alternating least squares, the source as attributes of users."""
  import cmfrec

  source, target = (sparse(domain.by_user) for domain in data[:2])
  factors = config.model.factors

  def fit(n):
    cmf = cmfrec.CMF(factors, niter=n, user_bias=False, item_bias=False)
    return cmf.fit(target.tocoo(), source.tocoo())

  size = factors * (sum(target.shape) + source.shape[1])
  return Library('cmfrec CMF', 'ALS', fit, size)


def myfm_gibbs(data, config) -> Library:
  """myFM: Gibbs sampling, a user's ratings of the source as one block."""
  import myfm
  from scipy.sparse import eye, hstack

  rows = data.target.by_user
  source, user = sparse(data.source.by_user), np.asarray(rows.row)
  source.data /= np.repeat(np.diff(source.indptr), np.diff(source.indptr))
  blocks = hstack([eye(rows.n_rows), source], format='csr')
  item = eye(rows.n_columns, format='csr')[np.asarray(rows.column)]
  groups = [rows.n_columns, *source.shape]

  def fit(n):
    machine = myfm.MyFMRegressor(config.model.factors, random_seed=0)
    block = myfm.RelationBlock(user, blocks)
    value = np.asarray(rows.value, np.float64)
    return machine.fit(
      item, value, [block], n_iter=n, n_kept_samples=1, group_shapes=groups
    )

  size = sum(groups) * (config.model.factors + 1) + 1
  return Library('myFM', 'Gibbs', fit, size)


def cornac_bpr(data, config) -> Library:
  """Cornac: stochastic gradient descent, uniform negatives."""
  import cornac

  rows, factors = data.target.by_user, config.model.factors
  columns = (np.asarray(x).tolist() for x in (rows.row, rows.column, rows.value))
  ratings = cornac.data.Dataset.from_uir(list(zip(*columns)))

  def fit(n):
    bpr = cornac.models.BPR(k=factors, max_iter=n, num_threads=0, seed=0)
    return bpr.fit(ratings)

  size = rows.n_rows * factors + rows.n_columns * (factors + 1)
  return Library('Cornac BPR', 'SGD', fit, size)


def implicit_bpr(data, config) -> Library:
  """implicit: stochastic gradient descent, negatives by popularity."""
  from implicit import bpr

  make = bpr.BayesianPersonalizedRanking
  return _implicit('BPR', 'SGD', make, data, config, biases=True)


def implicit_als(data, config) -> Library:
  """implicit: alternating least squares by conjugate gradients."""
  from implicit import als

  make = als.AlternatingLeastSquares
  return _implicit('ALS', 'ALS', make, data, config, biases=False)


def _implicit(name, sweep, make, data, config, biases):
  import threadpoolctl

  rows, factors = data.target.by_user, config.model.factors
  ratings = sparse(rows).astype(np.float32)

  def fit(n):
    with threadpoolctl.threadpool_limits(1, 'blas'):  # It has its own threads.
      machine = make(factors, iterations=n, random_state=0)
      machine.fit(ratings, show_progress=False)

  size = rows.n_rows * factors + rows.n_columns * (factors + biases)
  return Library(f'implicit {name}', sweep, fit, size)


def sparse(rows):
  """A scipy matrix of the same ratings."""
  from scipy.sparse import csr_matrix

  parts = (np.array(x) for x in (rows.value, rows.column, rows.start))
  value, column, start = parts
  shape = rows.n_rows, rows.n_columns
  return csr_matrix((value.astype(np.float64), column, start), shape)


LIBRARIES = {
  'configs/pmf.py': (surprise_svd,),
  'configs/pmf.py:sgd': (surprise_svd,),
  'configs/biased_mf.py': (surprise_svd,),
  'configs/biased_mf.py:explicit,sgd': (surprise_svd,),
  'configs/cmf.py': (cmfrec_als,),
  'configs/fm_cdcf.py': (myfm_gibbs,),
  'configs/bpr.py': (cornac_bpr, implicit_bpr),
  'configs/ials.py': (implicit_als,),
  'configs/ials.py:cg': (implicit_als,),
}


def recbole_mlp(model):
  """RecBole's NeuMF without its factorisation, which is NCF's MLP."""
  return 'NeuMF', {
    'mf_train': False,
    'mf_embedding_size': 1,  # Made, but not read.
    'mlp_embedding_size': model.embed,
    'mlp_hidden_size': list(model.layers),
    'dropout_prob': 0.0,
    'train_neg_sample_args': {
      'distribution': 'uniform',
      'sample_num': model.negatives,
      'dynamic': False,
    },
    'train_batch_size': (1 + model.negatives) * model.batch,
  }


def recbole_bpr(model):
  """RecBole's BPR, which has no biases, in its own batches: ours are small."""
  return 'BPR', {'embedding_size': model.factors}


RECBOLE = {'configs/bpr.py': recbole_bpr, 'configs/mlp.py': recbole_mlp}


def recbole(python, text, data, config, repeats) -> Timed:
  """An epoch of RecBole, in the environment of the Python given.

  Raises:
    ValueError: it does not run there.
  """
  model, settings = RECBOLE[text](config.model)
  rows = data.target.by_user
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / 'pairs' / 'pairs.inter'
    file.parent.mkdir()
    np.savetxt(
      file,
      np.stack([rows.row, rows.column], axis=1),
      fmt='%d',
      delimiter='\t',
      header='user_id:token\titem_id:token',
      comments='',
    )
    asked = dict(folder=folder, model=model, config=settings, repeats=repeats)
    script = pathlib.Path(__file__).with_name('recbole_epoch.py')
    try:
      done = subprocess.run(
        [python, str(script)],
        input=json.dumps(asked),
        capture_output=True,
        check=True,
        cwd=folder,  # It leaves logs behind.
        text=True,
      )
    except (OSError, subprocess.CalledProcessError) as error:
      said = getattr(error, 'stderr', None) or str(error)
      raise ValueError(
        f'RecBole did not run with --recbole={python}: {said.strip().splitlines()[-1]}'
      ) from error
  found = json.loads(done.stdout.splitlines()[-1])
  return Timed(
    f'RecBole {model}',
    'Adam',
    rows.n_entries,
    found['seconds'],
    found['parameters'],
  )


def timings(text, quick, prepared, repeats, missing, python=None) -> Iterator[Timed]:
  """A method's stages, and the libraries that have this method too.

  Names of libraries that are not installed are added to `missing`; `python` is
  RecBole's.
  """
  from xdomain.runs import prepare
  from xdomain.runs import spec as specs

  config = load(text, quick)
  prepared = prepare.seen_by(specs.from_config(config), prepared)
  name = text.removeprefix('configs/').replace('.py', '')
  for timed in epochs(name, config, prepared, repeats):
    yield timed
  for library in LIBRARIES.get(text, ()):
    try:
      fits = library(prepared.data, config)
    except ModuleNotFoundError as error:
      missing.add(error.name)
    else:
      yield sweeps(fits, timed.ratings, repeats)
  if python and text in RECBOLE:
    yield recbole(python, text, prepared.data, config, repeats)


def line(cells) -> str:
  """The line of a Markdown table."""
  from xdomain.reporting import render

  return render.markdown_row(cells)


def line_of(timed) -> str:
  """A row of the table."""
  return line(
    (
      timed.method,
      timed.stage,
      f'{timed.ratings:,.0f}',
      f'{timed.seconds:.3f}',
      f'{timed.ratings / timed.seconds:,.0f}',
      f'{timed.parameters:,}',
      '' if timed.compiled is None else f'{timed.compiled:.1f}',
    )
  )


def table(methods, quick, repeats, python=None) -> Iterator[str]:
  """The lines of the table, and what is not in it."""
  from xdomain.runs import prepare
  from xdomain.runs import spec as specs

  first = specs.from_config(load(methods[0], quick))
  prepared = prepare.prepare(first, say=lambda line: None)
  yield line(HEADER)
  yield line(['---'] * len(HEADER))
  missing = set()
  for text in methods:
    timed = timings(text, quick, prepared, repeats, missing, python)
    yield from map(line_of, timed)
  if missing:
    yield f'\nNot installed, so not timed: {", ".join(sorted(missing))}.'


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  asked = flags.FLAGS
  for methods in (RATERS, RANKERS):
    for text in table(methods, asked.quick, asked.repeats, asked.recbole):
      print(text, flush=True)
    print()


if __name__ == '__main__':
  # Not at import: flags of all benchmarks share one space of names.
  flags.DEFINE_bool('quick', False, 'Small settings, on synthetic data.')
  flags.DEFINE_string('recbole', None, "The Python of RecBole's environment.")
  app.run(main)
