r"""Checks and times xdomain on one accelerator: right numbers first, then speed.

python -m benchmarks.accelerator
python -m benchmarks.accelerator --parts=ceilings,correctness,ials --limit=60
JAX_PLATFORMS=cpu python -m benchmarks.accelerator --toy

Every part is a process of its own with a time limit; what it printed until then
is kept, and each line is written to `--out` as it comes. No raw data is needed:
pairs are planted in the shapes of the papers' (MovieLens is read if its parsed
pair is in the cache). Programs of a part are compiled at once, in threads, and
compile seconds are listed apart. Seconds are of the fastest of a few epochs.
Bytes and operations are counted by hand from the equations, the least that an
epoch can move, and stand beside the ceilings that the part `ceilings` measures.
"""

import concurrent.futures
import functools
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags, logging

from xdomain import programs

PARTS = flags.DEFINE_list(
  'parts',
  [
    'ceilings',
    'correctness',
    'autorec',
    'darec',
    'ials',
    'bpr',
    'shared_vae',
    'sweep',
    'main',
    'chaos',
  ],
  'What to run, in this order; also: tests, first_command, compiling, flags.',
)
LIMIT = flags.DEFINE_integer('limit', 60, 'Seconds that a part may take.')
OUT = flags.DEFINE_string(
  'out', '', 'The report; results/benchmarks/accelerator-<device>.md by default.'
)
TOY = flags.DEFINE_bool('toy', False, 'Small sizes, as a rehearsal.')
ONLY = flags.DEFINE_string('only', '', 'Runs one part in this process.')
EPOCHS = flags.DEFINE_integer('epochs', 3, 'Epochs timed of each program.')
TOTAL = flags.DEFINE_integer('total', 300, 'Seconds that all parts may take.')
SCRATCH = 'XDOMAIN_BENCHMARK'  # Names the folder that the parts share.


class Case(NamedTuple):
  """A stage to time, and the least that its epoch moves and computes."""

  name: str
  stage: Any
  data: Any
  hyper: Any
  unit: str = 'ratings'
  units: float = 0.0
  moved: float = 0.0  # bytes
  operations: float = 0.0
  precision: str = ''  # of matrix products; full float32 by default


class Timed(NamedTuple):
  state: Any
  metrics: Any
  seconds: float
  compiled: float
  mib: float


# --- Shapes ------------------------------------------------------------------


def toy(full, small) -> Any:
  return small if TOY.value else full


@functools.cache
def movielens():
  """A rating pair of MovieLens's shape, or MovieLens itself if it is cached."""
  from xdomain.data import cache, synthetic
  from xdomain.data.readers import download

  cached = sorted((download.cache_dir() / 'pairs').glob('movielens-*.npz'))
  if cached and not TOY.value:
    return cache.load(cached[-1]).pair
  counts = dict(
    users=4106,
    source=307,
    target=2364,
    source_ratings=145_651,
    target_ratings=501_602,
  )
  small = dict(
    users=200, source=40, target=90, source_ratings=3000, target_ratings=4000
  )
  return synthetic.pair(0, **toy(counts, small)).pair  # pyright: ignore


@functools.cache
def pair1():
  """A rating pair of the shape of DARec's Table 1, pair 1."""
  from xdomain.data import synthetic

  counts = dict(
    users=5154,
    source=10_398,
    target=21_732,
    source_ratings=40_294,
    target_ratings=158_927,
  )
  small = dict(
    users=200, source=300, target=500, source_ratings=1000, target_ratings=2000
  )
  return synthetic.pair(0, **toy(counts, small)).pair


def amazon():
  """Positives in the shape of SharedVAE's Amazon pair."""
  counts = dict(users=35_025, source=28_656, target=59_880, n=600_000)
  small = dict(users=300, source=200, target=400, n=4000)
  return positives(**toy(counts, small))


def positives(users, source, target, n, seed=0):
  """Positives of Zipf-like items in both domains, as many draws in each."""
  from xdomain.data import types

  def domain(seed, items):
    rng = np.random.default_rng(seed)
    popularity = 1 / (10 + np.arange(items)) ** 0.9
    activity = rng.lognormal(0, 1, users)
    cells = [
      np.searchsorted(np.cumsum(weight / weight.sum()), rng.random(n))
      for weight in (activity, popularity)
    ]
    user, item = (np.minimum(c, m - 1) for c, m in zip(cells, (users, items)))
    user, item = np.divmod(np.unique(user.astype(np.int64) * items + item), items)
    return types.Ratings(
      user.astype(np.int32),
      item.astype(np.int32),
      np.ones(user.size, np.float32),
      np.zeros(0, np.int64),
      users,
      items,
    )

  return types.Pair(domain(seed, source), domain(seed + 1, target))


# --- Timing ------------------------------------------------------------------


def timed(cases: list[Case]) -> Iterator[tuple[Case, Timed | Exception]]:
  """Compiles all cases at once and runs each for a few epochs, as it is ready."""
  import jax

  from xdomain.training import loop

  key = jax.random.key(0)

  def compiled(case):
    started = time.perf_counter()
    with jax.default_matmul_precision(case.precision or None):
      state = jax.jit(case.stage.init)(key, case.data, case.hyper, ())
      rest = key, case.data, case.hyper
      program = loop.epoch.lower(case.stage, state, *rest).compile()
    return program, state, rest, time.perf_counter() - started

  with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
    futures = {pool.submit(compiled, case): case for case in cases}
    for future in concurrent.futures.as_completed(futures):
      try:
        program, state, rest, seconds = future.result()
        fastest, metrics = np.inf, None
        for _ in range(EPOCHS.value + 1):
          started = time.perf_counter()
          state, metrics, _ = jax.block_until_ready(program(state, *rest))
          fastest = min(fastest, time.perf_counter() - started)
        memory = program.memory_analysis()
        mib = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20
        yield futures[future], Timed(state, metrics, fastest, seconds, mib)
      except Exception as error:  # One that does not fit is no reason to end.
        yield futures[future], error


def report(cases: list[Case]) -> None:
  """Prints a row of each case, in the order in which their programs are ready."""
  head('case', 's an epoch', 'units/s', 'GB/s (of copy)', 'TFLOP/s (of full)', 'MiB')
  ceiling = ceilings()
  for case, result in timed(cases):
    if isinstance(result, Exception):
      row(case.name, f'failed: {str(result)[:400]}')
      continue
    bandwidth = case.moved / result.seconds / 1e9
    rate = case.operations / result.seconds / 1e12
    row(
      case.name,
      f'{result.seconds:.4g} (compile {result.compiled:.1f})',
      f'{case.units / result.seconds / 1e6:,.2f} M {case.unit}/s',
      f'{bandwidth:,.0f} ({bandwidth / ceiling["copy"]:.2f})',
      f'{rate:,.2f} ({rate / ceiling["highest"]:.2f})',
      f'{result.mib:,.0f}',
    )


def head(*cells):
  print()
  row(*cells)
  row(*['---'] * len(cells))


def row(*cells):
  print(f'| {" | ".join(map(str, cells))} |', flush=True)


def ceilings() -> dict:
  """The measurements of the part `ceilings`, made now if it was not run."""
  path = scratch() / 'ceilings.json'
  return json.loads(path.read_text()) if path.exists() else part_ceilings(quiet=True)


def scratch() -> pathlib.Path:
  return pathlib.Path(os.environ.get(SCRATCH, tempfile.gettempdir()))


# --- Parts -------------------------------------------------------------------


def part_ceilings(quiet=False):
  """Copy bandwidth and matrix products, the ceilings of everything else."""
  import jax
  import jax.numpy as jnp

  def seconds(function, *args):
    jax.block_until_ready(function(*args))
    took = []
    for _ in range(5):
      started = time.perf_counter()
      jax.block_until_ready(function(*args))
      took.append(time.perf_counter() - started)
    return float(np.median(took))

  cpu = jax.default_backend() == 'cpu'
  n, m = (2**22, 512) if cpu else (2**29, 8192)
  x = jax.random.normal(jax.random.key(0), (n,))
  found = {'copy': 8 * n / seconds(jax.jit(lambda x: x * 1.0001 + 1), x) / 1e9}
  del x
  a, b = (jax.random.normal(jax.random.key(k), (m, m)) for k in (0, 1))
  for name in ('highest', 'high', 'default'):
    product = jax.jit(functools.partial(jnp.dot, precision=name))
    found[name] = 2 * m**3 / seconds(product, a, b) / 1e12

  def rounded(a, b):
    a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    return jnp.dot(a, b, preferred_element_type=jnp.float32)

  found['bfloat16'] = 2 * m**3 / seconds(jax.jit(rounded), a, b) / 1e12
  (scratch() / 'ceilings.json').write_text(json.dumps(found))
  if not quiet:
    head('ceiling', 'measured')
    row('copy, read and written', f'{found.pop("copy"):,.0f} GB/s')
    for name, rate in found.items():
      row(f'matrix product, {name}', f'{rate:,.1f} TFLOP/s')
  return found


def first_epochs() -> list[Case]:
  """A first epoch of every method, on small pairs."""
  from xdomain.data import device, synthetic
  from xdomain.models import (
    autorec,
    bias,
    biased_mf,
    bpr,
    cmf,
    cmf_implicit,
    ials,
    mlp,
    mult_vae,
    pmf,
    shared_vae,
  )

  rated = synthetic.pair(
    0, users=300, source=60, target=90, source_ratings=3000, target_ratings=4000
  ).pair
  liked = positives(300, 60, 90, 4000)
  data, sizes = entries_only(device.put(rated)), device.sizes(rated)
  likes, liked_sizes = device.put(liked), device.sizes(liked)
  small = dict(hidden=(32,), latent=16, batch=32)
  models = {
    'bias': (bias, {}, True),
    'pmf': (pmf, dict(factors=8, batch=512), True),
    'biased_mf': (biased_mf, dict(factors=8), True),
    'autorec U-': (autorec, dict(axis='user', embed=16), True),
    'autorec I-': (autorec, dict(axis='item', embed=16), True),
    'cmf': (cmf, dict(factors=8), True),
    'bpr': (bpr, dict(factors=8, batch=512), False),
    'ials': (ials, dict(factors=8), False),
    'ials cg': (ials, dict(factors=8, solver='cg'), False),
    'cmf_implicit': (cmf_implicit, dict(factors=8), False),
    'mlp': (mlp, {}, False),
    'mult_vae': (mult_vae, small, False),
    'shared_vae': (shared_vae, small, False),
  }
  cases = []
  for name, (module, settings, explicit) in models.items():
    on, extent = (data, sizes) if explicit else (likes, liked_sizes)
    try:
      model = module.model(extent, **settings)
    except TypeError:  # A setting that the method has not.
      model = module.model(extent)
    cases.append(Case(name, model.stages[0], on, module.Hyper()))
  for axis in ('user', 'item'):  # Both forms of the data, on any device.
    (stage,) = autorec.model(sizes, axis=axis, embed=16).stages
    cases.append(
      Case(
        f'autorec {axis[0].upper()}-, matrix', stage, matrices(data), autorec.Hyper()
      )
    )
  return cases


def matrices(data):
  """A pair with a resident matrix of every domain and side."""
  from xdomain import base
  from xdomain.data import device

  def domain(both):
    return base.Domain(*map(device.with_matrix, both))

  return data._replace(source=domain(data.source), target=domain(data.target))


def entries_only(data):
  """A pair without resident matrices."""
  import dataclasses

  from xdomain import base

  def domain(both):
    plain = (dataclasses.replace(rows, code=None, levels=None) for rows in both)
    return base.Domain(*plain)

  return data._replace(source=domain(data.source), target=domain(data.target))


def leaves(result):
  """The arrays of a state as float64, keys left out."""
  import jax

  return [
    np.asarray(leaf, np.float64)
    for leaf in jax.tree.leaves(result.state)
    if np.issubdtype(leaf.dtype, np.floating)
  ]


def part_reference():
  """The CPU's numbers, for the part `correctness`."""
  cases = first_epochs()
  for case, result in zip(cases, once(cases)):
    if not isinstance(result, Exception):
      path = scratch() / f'reference {case.name}.npz'
      beside = path.with_suffix('.part.npz')
      np.savez(beside, np.float64(result.metrics['loss']), *leaves(result))
      beside.replace(path)
  (scratch() / 'reference done').touch()


def once(cases):
  """The first epoch of each case: state and metrics on the host."""
  import jax

  from xdomain.training import loop

  key = jax.random.key(0)

  def first(case):
    try:
      state = jax.jit(case.stage.init)(key, case.data, case.hyper, ())
      started = time.perf_counter()
      state, metrics, _ = jax.device_get(
        loop.epoch(case.stage, state, key, case.data, case.hyper)
      )
      return Timed(state, metrics, 0.0, time.perf_counter() - started, 0.0)
    except Exception as error:  # Said in the table.
      return error

  with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
    yield from pool.map(first, cases)


def part_correctness():
  """First epochs against the CPU's: loss, and parameters by their norms."""
  head('method', 'loss', "CPU's loss", 'gap of parameters, relative', 'compile s', '')
  cases = first_epochs()
  for case, result in zip(cases, once(cases)):
    if isinstance(result, Exception):
      row(case.name, f'failed: {str(result)[:200]}')
      continue
    path = scratch() / f'reference {case.name}.npz'
    while not path.exists() and not (scratch() / 'reference done').exists():
      time.sleep(0.2)
    if not path.exists():
      row(case.name, 'no reference')
      continue
    with np.load(path) as file:
      loss, *theirs = (file[name] for name in file.files)
    gaps = [
      np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-12)
      for a, b in zip(leaves(result), theirs)
    ]
    ours, gap = float(result.metrics['loss']), max(gaps)
    # An epoch of some ten steps of Adam turns rounding of 1e-7 into 1e-4 at most.
    good = abs(ours - loss) <= 1e-4 * abs(loss) and gap < 1e-2
    verdict = 'ok' if good else 'DIFFERS'
    row(
      case.name,
      f'{ours:.6f}',
      f'{loss:.6f}',
      f'{gap:.1e}',
      f'{result.compiled:.1f}',
      verdict,
    )


def autorec_case(name, pair, data, axis, batch, precision='', embed=500):
  from xdomain.data import device
  from xdomain.models import autorec

  sizes = device.sizes(pair)
  (stage,) = autorec.model(sizes, axis=axis, embed=embed, batch=batch).stages
  rows = data.target.along(axis)
  steps = -(-rows.n_rows // batch)
  n_params = 2 * rows.n_columns * embed
  dense = rows.code is not None
  cells = rows.n_rows * rows.n_columns if dense else rows.n_entries
  form = 'matrix' if dense else 'entries'
  return Case(
    f'{name} {axis[0].upper()}- {batch} {form}{precision and ", "}{precision}',
    stage,
    data,
    autorec.Hyper(),
    units=rows.n_entries,
    moved=steps * n_params * 4 * 7,  # Adam: reads 4 arrays, writes 3.
    operations=10 * cells * embed,
    precision=precision,
  )


def part_autorec():
  """AutoRec on the entries and on a resident matrix."""
  from xdomain.data import device

  for name, pair, settings in (
    ('movielens', movielens(), (('item', 128), ('user', 128), ('user', 1024))),
    ('pair1', pair1(), (('user', 128), ('item', 128))),
  ):
    data = device.put(pair)
    chosen = data.target.by_user.code is not None
    print(f'\n{name}: the package chooses {"the matrix" if chosen else "entries"}')
    forms = matrices(data), entries_only(data)
    report(
      [
        autorec_case(name, pair, form, axis, batch)
        for axis, batch in settings
        for form in forms
      ]
    )
  data = matrices(device.put(movielens()))
  report([autorec_case('movielens', movielens(), data, 'user', 1024, 'tensorfloat32')])


def part_darec():
  """The second stage of DARec on entries and on a resident matrix."""
  import jax

  from xdomain.data import device
  from xdomain.models import darec
  from xdomain.training import loop

  pair = movielens()
  model = darec.model(device.sizes(pair), axis='item')
  hyper, key = darec.Hyper(), jax.random.key(0)
  data = device.put(pair)
  done, best = (), ()
  for _ in model.stages[:-1]:
    progress = loop.begin(model, key, data, hyper, done)
    done, best = (*done, progress.best), (*best, progress.best_of())
  last = model.stages[-1]
  stage = last._replace(
    init=lambda key, data, hyper, _: last.init(key, data, hyper, best)
  )
  entries = sum(d.by_item.n_entries for d in data[:2])
  cases = [
    Case(f'darec I-, {name}', stage, form, hyper, units=entries)
    for name, form in (('matrix', matrices(data)), ('entries', entries_only(data)))
  ]
  report(cases)


def ials_case(name, pair, solver, factors=64):
  from xdomain.data import device
  from xdomain.models import ials

  sizes, data = device.sizes(pair), device.put(pair)
  (stage,) = ials.model(sizes, factors=factors, solver=solver).stages
  n = data.target.by_user.n_entries
  rows = sizes.users + sizes.target
  systems = rows * factors**3 / 3 + 4 * n * factors**2
  steps = 8 * 3 * n * 2 * factors + 4 * 2 * rows * factors**2
  return Case(
    f'ials {name} {solver}',
    stage,
    data,
    ials.Hyper(),
    unit='positives',
    units=n,
    moved=4 * factors * (4 * n if solver == 'cg' else 2 * n),
    operations=steps if solver == 'cg' else systems,
  )


def part_ials():
  """Implicit ALS: Cholesky and conjugate gradients."""
  large = positives(*toy((200_000, 1000, 1_000_000, 4_200_000), (400, 40, 900, 9000)))
  report([ials_case('200 k x 1 M', large, solver) for solver in ('cg', 'cholesky')])
  small = positives(*toy((5081, 300, 2257, 700_000), (200, 40, 90, 4000)))
  report([ials_case('movielens', small, solver) for solver in ('cholesky', 'cg')])


def part_bpr():
  """BPR at a million items, by the size of a batch."""
  from xdomain.data import device
  from xdomain.models import bpr

  pair = positives(*toy((200_000, 1000, 1_000_000, 4_200_000), (400, 40, 900, 9000)))
  sizes, data = device.sizes(pair), device.put(pair)
  n = data.target.by_user.n_entries
  cases = []
  for batch in (4096, 32_768, 131_072):
    (stage,) = bpr.model(sizes, factors=64, batch=batch).stages
    case = Case(
      f'bpr 1 M items, batch {batch:,}',
      stage,
      data,
      bpr.Hyper(),
      unit='triples',
      units=n,
      moved=n * 3 * 64 * 4 * 3,  # Three rows a triple: read, read and written.
      operations=n * 64 * 20,
    )
    cases.append(case)
  report(cases)


def shared_vae_case(name, pair, settings):
  import jax

  from xdomain.data import device
  from xdomain.models import shared_vae

  sizes, data = device.sizes(pair), device.put(pair)
  (stage,) = shared_vae.model(sizes, **settings).stages
  hyper = shared_vae.Hyper()
  state = jax.eval_shape(stage.init, jax.random.key(0), data, hyper, ())
  n_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  steps = -(-sizes.users // settings['batch'])
  width = settings['hidden'][0]
  logits = 3 * 2 * sizes.users * (sizes.source + sizes.target) * width
  return Case(
    f'shared_vae {name}',
    stage,
    data,
    hyper,
    unit='users',
    units=sizes.users,
    moved=steps * n_params * 4 * 7,
    operations=logits,
  )


def part_shared_vae():
  """SharedVAE on its two pairs."""
  small = positives(*toy((1348, 300, 2262, 200_000), (200, 40, 90, 4000)))
  cases = [
    shared_vae_case('movielens', small, dict(hidden=(256,), latent=128, batch=32)),
    shared_vae_case('amazon', amazon(), dict(hidden=(512, 256), latent=128, batch=128)),
  ]
  report(cases)


def part_sweep():
  """Sixteen members of DARec's second stage at once, beside one."""
  import jax

  from benchmarks import sweep
  from xdomain.data import device
  from xdomain.models import darec

  pair = movielens()
  model, data = darec.model(device.sizes(pair), axis='item'), device.put(pair)
  hyper = jax.tree.map(lambda value: np.full(1, value), darec.Hyper())
  stage, state = sweep.last_stage(model, data, hyper, 10)
  head('members', 's', 'of one', 'compile s')
  single, compiled = sweep.compiled(stage, 'single', state, data, hyper)
  alone = min(sweep.epoch(single, state) for _ in range(3))
  row(1, f'{alone:.4f}', '1', f'{compiled:.1f}')
  count = 16
  many = jax.tree.map(lambda leaf: np.repeat(leaf, count, axis=0), (state, hyper))
  program, compiled = sweep.compiled(stage, 'vmap', many[0], data, many[1])
  took = min(sweep.epoch(program, many[0]) for _ in range(3))
  row(count, f'{took:.4f}', f'{took / alone:.2f}', f'{compiled:.1f}')


def command(*arguments, **environment):
  """Runs a command, prints the end of what it said, and its seconds."""
  started = time.perf_counter()
  ended = subprocess.run(
    [sys.executable, '-m', *arguments],
    env=os.environ | environment,
    capture_output=True,
    text=True,
  )
  seconds = time.perf_counter() - started
  tail = (ended.stdout + ended.stderr).strip().splitlines()[-25:]
  print(f'\n`{" ".join(arguments)}` ended with {ended.returncode} in {seconds:.1f} s\n')
  print('```', *tail, '```', sep='\n', flush=True)


def part_main():
  """The main command; on planted data if MovieLens is not in the cache."""
  main_command()


def main_command(**environment):
  """Runs the main command in a folder of its own."""
  from xdomain.data.readers import download

  def run(config, *flags):
    folder = tempfile.mkdtemp(prefix='runs-', dir=scratch())
    command(
      'experiments.main',
      f'--config=configs/darec.py:{config}',
      *flags,
      f'--workdir={folder}',
      **environment,
    )

  if TOY.value:
    run('item,quick,synthetic')
  elif any((download.cache_dir() / 'pairs').glob('movielens-*.npz')):
    run('item')
  else:  # MovieLens's counts.
    counts = dict(
      users=4106,
      source=307,
      target=2364,
      source_ratings=145_651,
      target_ratings=501_602,
    )
    run('item,synthetic', *(f'--config.data.{k}={n}' for k, n in counts.items()))


def part_first_command():
  """The main command with an empty compile cache, and again with a full one."""
  cache = tempfile.mkdtemp(prefix='programs-', dir=scratch())
  for _ in range(2):
    main_command(JAX_COMPILATION_CACHE_DIR=cache)


def part_tests():
  """The tests of what depends on a device, on this device."""
  paths = [
    'tests/ops',
    'tests/precision_test.py',
    'tests/least_squares_test.py',
    'tests/evaluation',
    'tests/models/ials_test.py',
    'tests/models/autorec_test.py',
  ]
  backend = os.environ.get('JAX_PLATFORMS', '')
  command(
    'pytest',
    *paths,
    '-q',
    '-n',
    '0',
    '-p',
    'no:benchmark',
    '-o',
    f'cache_dir={scratch() / "pytest"}',
    '--tb=short',
    JAX_PLATFORMS=backend,
    XLA_PYTHON_CLIENT_PREALLOCATE='false',
  )


def part_chaos():
  """Compares runs of one seed, epoch by epoch, on one device and between devices.

  An I-AutoRec run, epoch by epoch, twice on the entries (atomic sums in any
  order), twice on the matrix (no atomics), once with rounded products.
  """
  import jax

  from xdomain.data import device
  from xdomain.models import autorec
  from xdomain.training import loop

  pair = movielens()
  data = device.put(pair)
  sizes, hyper = device.sizes(pair), autorec.Hyper()
  (stage,) = autorec.model(sizes, axis='item', batch=128).stages
  runs = {
    'entries': (entries_only(data), None),
    'entries again': (entries_only(data), None),
    'matrix': (matrices(data), None),
    'matrix again': (matrices(data), None),
    'matrix, rounded': (matrices(data), 'tensorfloat32'),
  }
  paths = {}
  for name, (form, precision) in runs.items():
    key = jax.random.key(0)
    with jax.default_matmul_precision(precision):
      state = jax.jit(stage.init)(key, form, hyper, ())
      losses, params = [], []
      for epoch in range(toy(8, 2)):
        at = jax.random.fold_in(key, epoch)
        state, metrics, _ = loop.epoch(stage, state, at, form, hyper)
        losses.append(float(metrics['loss']))
        params.append(
          np.concatenate(
            [x.ravel() for x in leaves(Timed(jax.device_get(state.params), 0, 0, 0, 0))]
          )
        )
    paths[name] = losses, params
  head('run', *(f'loss {e + 1}' for e in range(toy(8, 2))))
  for name, (losses, _) in paths.items():
    row(name, *(f'{loss:.6f}' for loss in losses))
  head('gap of parameters, relative', *(f'epoch {e + 1}' for e in range(toy(8, 2))))
  for a, b in (
    ('entries', 'entries again'),
    ('matrix', 'matrix again'),
    ('entries', 'matrix'),
    ('matrix', 'matrix, rounded'),
  ):
    gaps = [
      np.linalg.norm(x - y) / np.linalg.norm(x)
      for x, y in zip(paths[a][1], paths[b][1])
    ]
    row(f'{a} : {b}', *(f'{gap:.1e}' for gap in gaps))


XLA_CHOICES = (
  '--xla_gpu_enable_triton_gemm=true',
  '--xla_gpu_enable_triton_gemm=true --xla_gpu_autotune_level=0',
  '--xla_gpu_enable_triton_gemm=false',
  '--xla_gpu_enable_triton_gemm=false --xla_gpu_autotune_level=0',
)


def part_flags():
  """One AutoRec epoch, compiled under other settings of the compiler."""
  for choice in XLA_CHOICES:
    given = os.environ.get('XLA_FLAGS', '')
    command(
      'benchmarks.accelerator',
      '--only=one_program',
      *(['--toy'] if TOY.value else []),
      XLA_FLAGS=f'{given} {choice}'.strip(),
      JAX_ENABLE_COMPILATION_CACHE='false',
    )


def part_one_program():
  """One program, with its compile seconds."""
  from xdomain.data import device

  print(os.environ.get('XLA_FLAGS', ''))
  pair = movielens()
  data = device.put(pair)
  forms = matrices(data), entries_only(data)
  report([autorec_case('movielens', pair, form, 'item', 128) for form in forms])


def part_compiling():
  """Seconds to compile the pieces that an epoch is made of, one after another."""
  import jax
  import jax.numpy as jnp

  from xdomain.data import device
  from xdomain.ops import sparse

  data = device.put(movielens())
  rows = entries_only(data).target.by_item
  matrix = matrices(data).target.by_item
  key, ids = jax.random.key(0), jnp.arange(128)
  hidden = jnp.ones((128, 500))
  table, bias = jnp.ones((rows.n_columns, 500)), jnp.ones(rows.n_columns)

  def error(hidden, table, bias, batch):
    return sparse.squared_error(hidden, table, bias, batch)

  def full(function):
    def traced(*arguments):
      with jax.default_matmul_precision('highest'):
        return function(*arguments)

    return traced

  gradient = jax.grad(error, argnums=(0, 1, 2))
  few = jnp.ones((128, rows.n_columns), jnp.float32)
  pieces = {
    'batches: permutation of strata': (lambda key, r: r.batches(key, 128), key, rows),
    'entries of a batch': (lambda ids, r: r.entries(ids), ids, rows),
    'entries to cells': (
      lambda ids, r: sparse.cells(r.entries(ids), 128, r.n_columns),
      ids,
      rows,
    ),
    'cells of the matrix': (lambda ids, r: r.observed(ids), ids, matrix),
    'one product, full float32': (full(jnp.dot), few, table),
    'one product, rounded': (jnp.dot, few, table),
    'gradient on the matrix': (
      full(lambda *args: gradient(*args[:3], args[4].observed(args[3]))),
      hidden,
      table,
      bias,
      ids,
      matrix,
    ),
    'gradient on the entries': (
      full(lambda *args: gradient(*args[:3], args[4].entries(args[3]))),
      hidden,
      table,
      bias,
      ids,
      rows,
    ),
    'triples of BPR': (
      lambda key, r: r.negatives(key, r.row),
      key,
      entries_only(data).target.by_user,
    ),
    'events in random order': (lambda key, r: r.shuffled(key, 1024), key, rows),
  }
  jax.config.update('jax_enable_compilation_cache', False)
  head('piece', 'compile s')
  for name, (function, *arguments) in pieces.items():
    lowered = jax.jit(function).lower(*arguments)
    started = time.perf_counter()
    lowered.compile()
    row(name, f'{time.perf_counter() - started:.2f}')


# --- The command -------------------------------------------------------------


def describe() -> str:
  """The device and the versions, from a process of its own."""
  code = (
    'import jax, flax; d = jax.devices()[0];'
    'print(d.device_kind, "|", jax.device_count(), "|", jax.__version__, "|",'
    ' flax.__version__, "|", jax.default_backend())'
  )
  return subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  ).stdout.strip()


def run_part(part: str, write: Callable[[str], None], limit: float) -> None:
  """Runs one part in a process of its own and writes its lines as they come."""
  write(f'\n## {part}\n')
  function = globals()[f'part_{part}']
  write(f'{function.__doc__}\n'.replace('\n  ', '\n'))
  arguments = [sys.executable, '-m', 'benchmarks.accelerator', f'--only={part}']
  arguments += [f'--epochs={EPOCHS.value}', *(['--toy'] if TOY.value else [])]
  started = time.perf_counter()
  process = subprocess.Popen(
    arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
  )
  late = threading.Timer(limit, process.kill)
  late.start()
  assert process.stdout is not None
  for line in process.stdout:
    write(line.rstrip('\n'))
  code = process.wait()
  late.cancel()
  seconds = time.perf_counter() - started
  cut = ', cut off at the limit' if seconds >= limit else ''
  write(f'\n{part}: {seconds:.0f} s, exit code {code}{cut}')


def main(argv):
  del argv
  logging.set_verbosity(logging.ERROR)
  if ONLY.value:
    programs.compile_quickly()
    globals()[f'part_{ONLY.value}']()
    return
  for part in PARTS.value:
    if f'part_{part}' not in globals():
      raise app.UsageError(f'no part is called {part!r}')
  kind, count, jax_version, flax_version, backend = describe().split(' | ')
  name = re.sub(r'[^a-z0-9]+', '-', kind.lower()).strip('-')
  path = pathlib.Path(OUT.value or f'results/benchmarks/accelerator-{name}.md')
  path.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory() as folder, path.open('w') as file:
    os.environ[SCRATCH] = folder
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', f'{folder}/programs')

    def write(line):
      print(line, flush=True)
      file.write(line + '\n')
      file.flush()

    write(f'# {count} x {kind}\n')
    write(f'`python -m benchmarks.accelerator {" ".join(sys.argv[1:])}`\n')
    write(
      f'jax {jax_version}, flax {flax_version}, backend {backend}, Python'
      f' {platform.python_version()}, {os.cpu_count()} CPU cores.'
    )
    reference = None
    if 'correctness' in PARTS.value:
      arguments = [sys.executable, '-m', 'benchmarks.accelerator', '--only=reference']
      reference = subprocess.Popen(
        arguments, env=os.environ | {'JAX_PLATFORMS': 'cpu'}, stdout=subprocess.DEVNULL
      )
    started = time.perf_counter()
    for part in PARTS.value:
      left = TOTAL.value - (time.perf_counter() - started)
      if left < 5:
        write(f'\n## {part}\n\nNot run: the {TOTAL.value} s of --total are spent.')
        continue
      run_part(part, write, min(left, LIMIT.value))
    if reference is not None:
      reference.kill()


if __name__ == '__main__':
  app.run(main)
