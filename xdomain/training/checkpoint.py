"""Saves the progress of a run and restores it (orbax).

A checkpoint is written beside the last one and renamed, and the last one is deleted
after that. So a run that is killed at any moment leaves a whole checkpoint or none.
"""

import contextlib
import errno
import json
import logging
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xdomain import base, shards
from xdomain.training import loop, placement

HOST = ('best_value', 'best_epoch', 'failed')
PARTS = ('state', 'best', 'done', *HOST)
FORMAT = 2  # Of a checkpoint: every array leads with the axis of members.


class WrongCheckpoint(ValueError):
  """A checkpoint of another configuration."""


class DamagedCheckpoint(WrongCheckpoint):
  """A checkpoint that cannot be read."""


class NotSaved(RuntimeError):
  """A checkpoint that cannot be written."""


def _manager(folder):
  import orbax.checkpoint as ocp  # Half a second, so only where it is used.

  # Its threads log the traceback of an error that is raised here anyway.
  logging.getLogger('absl').addFilter(_is_of_others)
  # Not asynchronous: on a CPU the buffers would be donated while being written.
  options = ocp.CheckpointManagerOptions(
    max_to_keep=1, enable_async_checkpointing=False
  )
  return ocp.CheckpointManager(pathlib.Path(folder).resolve(), options=options)


def _is_of_others(record: logging.LogRecord) -> bool:
  return 'orbax' not in record.pathname


def save(
  folder: str | os.PathLike[str], progress: loop.Progress, identity: dict
) -> None:
  """Replaces the checkpoint in a folder.

  Args:
    folder: of the checkpoints; created if it is missing.
    progress: as given to the `watch` of `loop.fit`, or returned by it.
    identity: plain values by name; a run can only restore a checkpoint with its own.

  Raises:
    NotSaved: the disk is full or not writable; the last checkpoint stays.
  """
  import orbax.checkpoint as ocp

  tree = {part: getattr(progress, part) for part in PARTS}
  about = {
    'format': FORMAT,
    'stage': progress.stage,
    'epoch': progress.epoch,
    'identity': identity,
    'shards': shards.any_of(tree),
  }
  args = ocp.args.Composite(
    tree=ocp.args.StandardSave(tree), about=ocp.args.JsonSave(about)
  )
  message = (
    f'the checkpoint in {folder} cannot be written: {{}}; mend that, and the same'
    ' command resumes from the last one'
  )
  with _one_line(NotSaved, message), _manager(folder) as manager:
    manager.save((manager.latest_step() or 0) + 1, args=args)


def restore(
  folder: str | os.PathLike[str],
  identity: dict,
  model: base.Model,
  key: base.Array,
  data: base.Arrays,
  hyper: Any,
  axes: shards.Axes = shards.ONE,
) -> loop.Progress | None:
  """The `Progress` in a folder; None where there is no checkpoint.

  Args:
    folder: of the checkpoints.
    identity: as it was saved.
    model, key, data, hyper, axes: as for `loop.fit`; the checkpoint may have been
      saved on another mesh.

  Raises:
    WrongCheckpoint: the identity differs, and the message names the fields; or
      another version of this package saved it.
    DamagedCheckpoint: files are missing or damaged.
  """
  import orbax.checkpoint as ocp

  if not pathlib.Path(folder).is_dir():
    return None
  damaged = f'{folder} holds a damaged checkpoint; delete it to begin again'
  with _one_line(DamagedCheckpoint, damaged), _manager(folder) as manager:
    step = manager.latest_step()
    if step is None:
      return None
    args = ocp.args.Composite(about=ocp.args.JsonRestore())
    about = manager.restore(step, args=args).about
    saved, stage, epoch = (about[name] for name in ('identity', 'stage', 'epoch'))
  if about.get('format') != FORMAT:
    raise WrongCheckpoint(
      f'{folder} holds the checkpoint of another version of xdomain; delete it to'
      ' begin again'
    )
  _check_identity(folder, saved, identity)
  shapes = loop.shapes(model, key, data, hyper, axes)[stage]
  wanted = {part: getattr(shapes, part) for part in PARTS}
  in_shards = about.get('shards', False)
  form = shards.form(wanted, in_shards, placement.lengths(data))
  strict = not in_shards and axes.rows == 1  # Else the padding may differ.
  with _one_line(DamagedCheckpoint, damaged), _manager(folder) as manager:
    args = ocp.args.Composite(tree=ocp.args.StandardRestore(form, strict=strict))
    restored = manager.restore(step, args=args).tree
  # Tables may be in shards now and not then, or the reverse; the leaves are the same.
  tree = jax.tree.unflatten(jax.tree.structure(wanted), jax.tree.leaves(restored))
  host = {name: np.asarray(tree.pop(name)) for name in HOST}
  # A copy that XLA owns: the loop donates the state.
  parts: dict[str, Any] = {**_copied(tree), **host}
  return loop.Progress(stage=stage, epoch=epoch, **parts)


@contextlib.contextmanager
def _one_line(kind, message):
  """Replaces the errors of orbax, hundreds of lines long, by one line."""
  try:
    yield
  except Exception as error:
    if 'RESOURCE_EXHAUSTED' in str(error):
      raise
    raise kind(message.format(_cause(error))) from None


_CAUSES = 'ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS', 'EACCES', 'EPERM', 'EIO'


def _cause(error) -> str:
  """The reason of the system for an error, where its text holds one."""
  text = str(error).strip()
  for name in _CAUSES:
    reason = os.strerror(getattr(errno, name))
    if reason in text:
      return reason
  return f'{type(error).__name__}: {text.splitlines()[0][:100] if text else ""}'


@jax.jit
def _copied(tree):
  return jax.tree.map(jnp.copy, tree)


def _check_identity(folder, saved, wanted):
  wanted = json.loads(json.dumps(wanted))  # Tuples become lists, as in saved.
  differs = [
    f'{name} is {wanted.get(name)!r}, in the checkpoint {saved.get(name)!r}'
    for name in sorted({*saved, *wanted})
    if saved.get(name) != wanted.get(name)
  ]
  if differs:
    raise WrongCheckpoint(
      f'{folder} holds the checkpoint of another configuration:'
      f' {", ".join(differs)}; use another folder, or delete this one'
    )
