"""One config -> one run folder -> records.

A run's folder is named by its config and seed, so the same command finds it
again: an unfinished run goes on where it stood, a finished one is shown from
its records. A run of several seeds, `config.sweep.seed`, trains them at once.

  config.json     the resolved config
  about.json      seed, versions, hashes of the data, revision of the code; a
                  list of them where there are several seeds
  metrics.jsonl   a line an epoch (and events.* for TensorBoard, if installed)
  checkpoint/     where it stands; at the end, the trained model
  records.jsonl   a record for the run, or one for each member of a sweep
  test.npz        every test query and what came of it
"""

import contextlib
import functools
import hashlib
import inspect
import json
import pathlib
import platform
import subprocess
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import xdomain
from experiments import build, protocols
from xdomain import base, files, wording
from xdomain.data import cache, device, pairs, sources, splits, types
from xdomain.training import checkpoint, loop

IDENTITY = (
  'method',
  'model',
  'hyper',
  'sweep',
  'seed',
  'split',
  'data',
  'protocol',
  'view',
  'reviews',
)
# What of the pair a method is given.
VIEWS = {
  'both': lambda dataset, pair: pair,
  'alone': lambda dataset, pair: pairs.alone(pair),
  'merged': lambda dataset, pair: pairs.joint(pair),
  'apart': pairs.apart,  # of several sources each on its own
}


class Prepared(NamedTuple):
  """Data that is ready to train on and to be asked about."""

  dataset: types.Dataset
  split: types.Split
  valid: types.PerDomain  # of Queries
  test: types.PerDomain  # of Queries
  hashes: dict[str, str]
  view: str
  sizes: base.Sizes
  data: base.Arrays
  shown: base.Arrays | None  # to predictions, where that is more than `data`


def prepare(config, say=print) -> Prepared:
  """Reads, filters and splits a config's data, and puts it on the device."""
  dataset = sources.dataset(say=say, **config.data.to_dict())
  protocol = protocols.of(config)
  _check_ratings(config, dataset)
  split = _split(protocol, config, dataset)
  hashes = {'data': cache.digest(dataset), 'split': splits.digest(split)}
  if config.reviews:
    split = _with_reviews(config, dataset, split, say)

  def queries(held):
    return None if held is None else protocol.queries(held)

  valid, test = (
    types.PerDomain(*map(queries, held)) for held in (split.valid, split.test)
  )
  if 'negatives' in config.split:
    _say_if_few(config.split.negatives, test.target, say)
  return Prepared(
    dataset,
    split,
    valid,
    test,
    hashes,
    *_seen_as(config.view, dataset, split),
  )


def _say_if_few(negatives, queries, say):
  """Where a catalogue is small, sampled measures are of fewer candidates."""
  fewest = int(queries.mask.sum(axis=1).min()) - 1
  if fewest < negatives:
    say(
      f'{negatives} negatives are asked for, but some users have only {fewest}'
      ' items that they do not like'
    )


def _check_ratings(config, dataset):
  """Refuses to predict what is always the same."""
  ratings = dataset.pair.target.value
  if config.protocol == 'rating' and not np.ptp(ratings):
    raise types.DataError(
      f'every rating of the target is {ratings[0]:g}: there is nothing to'
      ' predict; name the column of ratings (--config.data.rating), or rank'
      ' items instead, as configs/shared_vae.py:tables does'
    )


def _split(protocol, config, dataset):
  _, _, *known = inspect.signature(protocol.split).parameters
  for name in config.split:
    if name not in known:
      raise build.ConfigError(
        f'config.split.{name} is not for config.protocol={config.protocol!r}'
        f'{wording.instead(name, known)}'
      )
  try:
    return protocol.split(dataset.pair, config.seed, **config.split.to_dict())
  except types.DataError:
    raise
  except (TypeError, ValueError) as error:
    raise build.ConfigError(f'config.split: {error}') from None


def _with_reviews(config, dataset, split, say):
  """The split with auxiliary vectors of the reviews it lets be read."""
  if config.data.kind != 'amazon_implicit':
    raise build.ConfigError(
      f"config.reviews needs 'amazon_implicit' data, not {config.data.kind!r}"
    )
  side = sources.review_vectors(say, dataset, split, config.seed)
  shown = split.shown and split.shown._replace(side=side)
  return split._replace(train=split.train._replace(side=side), shown=shown)


def _seen_as(view, dataset, split):
  """The view, and the sizes and arrays of what it shows of a split."""
  if view not in VIEWS:
    raise build.ConfigError(f'config.view is {view!r}{wording.instead(view, VIEWS)}')
  sizes = device.sizes(VIEWS[view](dataset, split.train))
  shown = split.shown and _put(view, dataset, split.shown)
  return view, sizes, _put(view, dataset, split.train), shown


def _put(view, dataset, pair):
  # The source's items come after the target's where both are one.
  border = pair.target.n_items if view == 'merged' else 0
  return device.put(VIEWS[view](dataset, pair), border)


def everything(prepared) -> base.Arrays:
  """All that is known of people, held out or not, in the view."""
  pair = prepared.dataset.pair._replace(side=prepared.split.train.side)
  return _put(prepared.view, prepared.dataset, pair)


def seen_by(config, prepared) -> Prepared:
  """The same split as another config wants to see it."""
  if config.view == prepared.view:
    return prepared
  fields = ('view', 'sizes', 'data', 'shown')
  seen = _seen_as(config.view, prepared.dataset, prepared.split)
  return prepared._replace(**dict(zip(fields, seen)))


def at_once(several) -> bool:
  """Whether splits are of one size, as those of one program are."""
  return device.alike(
    [(each.data, each.valid, each.test, each.shown) for each in several]
  )


def folder_of(config, workdir, kind='') -> pathlib.Path:
  """Where the run of this config lives, or the `kind` of thing made of it."""
  of = {'version': xdomain.__version__, **to_plain(config)}
  plain = json.dumps(of, sort_keys=True)
  digest = hashlib.sha256(plain.encode()).hexdigest()[:8]
  seeds = config.sweep.seed or (config.seed,)
  kind = kind or f'seed{seeds[0]}' + f'-{seeds[-1]}' * (len(seeds) > 1)
  return pathlib.Path(workdir) / f'{config.name}-{kind}-{digest}'


def to_plain(config) -> dict:
  """The config as JSON values, without what does not decide its records."""
  plain = json.loads(config.to_json_best_effort())
  for field in ('beside', 'search', 'width'):
    plain.pop(field, None)
  return plain


def run(config, prepared, folder, *, watch, seconds=15.0, test=True) -> list[dict]:
  """Trains, evaluates and records a config, or goes on with it.

  Args:
    config: of one method.
    prepared: its data, in any view; that of each seed where they are several.
    folder: of the run.
    watch: called with each epoch's `Report`.
    seconds: between checkpoints.
    test: False leaves the test set alone, as the trials of a search do.

  Returns:
    A record for each member, of seed after seed.

  Raises:
    Diverged: as `train.fit`; it leaves a record, and is raised again from it.
  """
  folder = pathlib.Path(folder)
  several = prepared if isinstance(prepared, list) else [prepared]
  records = finished(folder, several)
  if records:
    if 'diverged' in records[0]:
      raise loop.Diverged(records[0]['diverged'])
    return records
  several, method = _seen_and_method(config, several)
  with _alone_in(folder):
    about = list(map(_about, build.by_seed(config), several))
    try:
      with _fitting(config):
        progress = _train(config, several, method, folder, about, watch, seconds)
    except loop.Diverged as error:
      _record_failure(config, method, folder, about[0], str(error))
      raise
    seeds = _seed_of(method, several)
    members = [
      _evaluate(config, several[at], method, progress, index, test)
      for index, at in enumerate(seeds)
    ]
    spent = _spent(folder)
    records = [
      {'hyper': hyper, **measures, **about[at], **spent}
      for hyper, (measures, _), at in zip(method.members, members, seeds)
    ]
    if test:
      answers = [answer for _, answer in members]
      _save_test(folder / 'test.npz', answers, apart=len(several) > 1)
    lines = ''.join(map(files.line, records))
    files.write(folder / 'records.jsonl', lines)
  return files.read(folder / 'records.jsonl')


def _seed_of(method, several):
  """`[W]` which of several splits is a member's."""
  members = len(method.members)
  return np.arange(members) // (members // len(several))


def _record_failure(config, method, folder, about, why):
  """Of a run that diverged, so that it is not tried again."""
  (hyper,) = method.members
  nothing = {protocols.of(config).valid: None, 'epoch': 0, 'failed': True}
  record = {'hyper': hyper, **nothing, 'diverged': why}
  line = files.line(record | about | _spent(folder))
  files.write(folder / 'records.jsonl', line)


def finished(folder, several) -> list[dict]:
  """The records of a run, if it has ended; refused if its data has changed."""
  records = files.read(pathlib.Path(folder) / 'records.jsonl')
  hashes = [each.hashes for each in several]
  if any(record['hashes'] not in hashes for record in records):
    raise build.ConfigError(
      f'{folder} holds a run of this config on other data, which has changed'
      ' since; put the data back, or train on what it is now under another'
      ' --workdir'
    )
  return records


@contextlib.contextmanager
def _alone_in(folder):
  """Keeps a second process out of a run's folder."""
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / 'lock').open('w') as lock:
    try:
      import fcntl

      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
      pass  # Not on this platform.
    except BlockingIOError:
      raise build.ConfigError(f'another process is running in {folder}') from None
    yield


def check(config, prepared):
  """Refuses a config that cannot be trained on data, without training it.

  Raises:
    ConfigError: as of `run`.
  """
  (prepared,), method = _seen_and_method(config, [prepared])
  with _fitting(config):
    key = jax.random.key(0)
    loop.abstract(method.model, key, prepared.data, method.hyper, 0)


def _seen_and_method(config, several):
  """Splits as the config wants to see them, and the method that is fit to."""
  several = [seen_by(config, each) for each in several]
  method = build.method(config, several[0].sizes)
  _check_sight(config, method)
  return several, method


@contextlib.contextmanager
def _fitting(config):
  """Says which method the data is not fit for."""
  try:
    yield
  except base.Unfit as error:
    raise build.ConfigError(f'{config.method}: {error}') from None


def _check_sight(config, method):
  """Refuses a view that a method cannot learn from."""
  if config.view == 'apart' and not method.model.several_sources:
    raise build.ConfigError(
      f"{config.method} takes one source: config.view='both' shows it all of"
      ' them as one'
    )
  blind = method.model.target_only and config.view != 'merged'
  if blind and config.protocol == 'cold_start':
    raise build.ConfigError(
      f'{config.method} learns of people by the target domain alone, where they'
      " are new under config.protocol='cold_start'; config.view='merged' shows"
      ' it what they did in the source'
    )


def _train(config, several, method, folder, about, watch, seconds):
  given = give(config, several, method)
  progress = restore(config, several, method, folder, given)
  files.write_json(folder / 'config.json', to_plain(config))
  of_all = about if len(about) > 1 else about[0]
  files.write_json(folder / 'about.json', of_all)
  log = folder / 'metrics.jsonl'
  _forget_after(log, progress)
  events = files.EventWriter(folder, files.read(log))
  saves = functools.partial(
    checkpoint.save, folder / 'checkpoint', identity=_identity(config, several)
  )
  protocol = protocols.of(config)
  due = 0.0

  def after(report, progress):
    nonlocal due
    if report is not None:
      line = _line(protocol, progress.stage, report)
      files.append(log, line)
      events.write(line)
      watch(report)
    started = time.monotonic()
    if report is None or started >= due:
      saves(progress)
      took = time.monotonic() - started
      # Large states are saved less often: at most a twentieth of the time.
      due = time.monotonic() + (max(seconds, 20 * took) if seconds else 0)

  progress = loop.fit(
    method.model,
    given.key,
    given.data,
    method.hyper,
    epochs=config.epochs,
    valid=given.valid,
    shown=given.shown,
    measure=protocol.measure(several[0].dataset, method.model),
    patience=config.patience,
    every=config.every,
    progress=progress,
    watch=after,
  )
  saves(progress)
  events.close()
  return progress


class Given(NamedTuple):
  """What `train.fit` is given of the data."""

  key: base.Array
  data: base.Arrays
  valid: types.PerDomain
  shown: base.Arrays | None


def give(config, several, method) -> Given:
  """Of one split, or of each member's."""
  keys = [jax.random.key(each.seed) for each in build.by_seed(config)]
  if not config.sweep.seed:
    (one,) = several
    return Given(*keys, one.data, one.valid, one.shown)
  each = _seed_of(method, several)
  given = [several[at] for at in each]
  return Given(
    jnp.stack(keys)[each],
    *device.stack([(of.data, of.valid, of.shown) for of in given]),
  )


def _identity(config, several):
  """What a checkpoint must share with the run that takes it up."""
  plain = to_plain(config)
  hashes = [each.hashes for each in several]
  if not config.sweep.seed:
    (hashes,) = hashes
  else:
    hashes = {name: [each[name] for each in hashes] for name in hashes[0]}
  return {name: plain[name] for name in IDENTITY} | hashes


def restore(config, several, method, folder, given) -> loop.Progress | None:
  """Where the run in a folder stands, or None."""
  return checkpoint.restore(
    pathlib.Path(folder) / 'checkpoint',
    _identity(config, several),
    method.model,
    given.key,
    given.data,
    method.hyper,
  )


def _forget_after(log, progress):
  """Drops the lines of epochs that will be run again."""
  if progress is None:
    files.write(log, '')
  else:
    at = progress.stage, progress.epoch
    files.keep(log, lambda line: (line['stage'], line['epoch']) <= at)


def _spent(folder):
  """Seconds of all epochs, also of those before it was taken up again."""
  lines = files.read(folder / 'metrics.jsonl')
  return {
    'seconds': round(sum(line['seconds'] for line in lines), 1),
    'time': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
  }


def _line(protocol, stage, report):
  value = {}
  if report.value is not None:
    value = {protocol.valid: protocol.value(report.value).tolist()}
  return {
    'stage': stage,
    'name': report.stage,
    'epoch': report.epoch,
    **{name: metric.tolist() for name, metric in report.metrics.items()},
    **value,
    'seconds': round(report.seconds, 4),
  }


def _evaluate(config, prepared, method, progress, index, test):
  """One member's measures, and its answers to the test queries, if asked."""
  best = progress.best, progress.best_value, progress.best_epoch
  if progress.failed.ndim:
    best = jax.tree.map(lambda leaf: leaf[index], best)
  state, valid, epoch = best
  if not epoch:  # It diverged before it was ever validated.
    state = jax.tree.map(_unknown, state)
  protocol = protocols.of(config)
  params = getattr(state, 'params', state)
  measures = {
    protocol.valid: protocol.value(float(valid)),
    'epoch': int(epoch),
    'failed': bool(np.reshape(progress.failed, -1)[index]),
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(params)),
  }
  if not test:
    return measures, None
  answer = protocol.answer(prepared, method.model, state)
  return measures | answer.measures, answer


def _unknown(leaf):
  """NaN in place of all numbers that can be it."""
  if jnp.issubdtype(leaf.dtype, jnp.inexact):
    return jnp.full_like(leaf, jnp.nan)
  return leaf


def _save_test(path, answers, apart):
  """What differs between members is `[W, Q]`, which is all where apart."""
  shared, own = answers[0].shared, [answer.own for answer in answers]
  if apart:
    shared, own = {}, [answer.shared | answer.own for answer in answers]
  own = {name: np.stack([each[name] for each in own]) for name in own[0]}
  beside = path.with_name('test.part.npz')
  np.savez_compressed(beside, **shared, **own)
  beside.replace(path)


def differences(config, folder, other, member=0) -> list[tuple]:
  """How a run's test measures differ from those of another on the same split.

  Returns:
    Rows of the measure's name, its value of the run less that of the other,
    and the 95 % interval of that by a paired bootstrap over users.
  """
  answers = []
  for path, row in ((folder, member), (other, 0)):
    with np.load(pathlib.Path(path) / 'test.npz') as test:
      answers.append({name: x[row] if x.ndim > 1 else x for name, x in test.items()})
  return protocols.of(config).differences(*answers)


def _about(config, prepared):
  """What a reader needs to trust a record, or to repeat it."""
  device = jax.devices()[0]
  return {
    'name': config.name,
    'config': to_plain(config),
    'seed': config.seed,
    'hashes': prepared.hashes,
    'versions': {
      'xdomain': xdomain.__version__,
      'jax': jax.__version__,
      'python': platform.python_version(),
    },
    'device': f'{device.platform} {device.device_kind}',
    'git': _revision(),
  }


def _revision():
  """The commit of the code, marked where it was changed; or None."""
  where = pathlib.Path(__file__).parent
  try:
    described = subprocess.run(
      ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
      cwd=where,
      capture_output=True,
      text=True,
      check=True,
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return described.stdout.strip()
