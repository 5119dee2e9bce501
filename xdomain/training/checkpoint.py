"""Saves where a run stands, and takes it up again (orbax).

A checkpoint is written beside and renamed; the one before is deleted after.
So a run that is killed at any moment leaves a whole checkpoint or none.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from xdomain.training import loop

HOST = ('best_value', 'best_epoch', 'failed')
PARTS = ('state', 'best', 'done', *HOST)


class WrongCheckpoint(ValueError):
  """A checkpoint that belongs to another configuration."""


def _manager(folder):
  import orbax.checkpoint as ocp  # Half a second, so only where it is used.

  # Not asynchronous: on a CPU the buffers would be donated while being written.
  options = ocp.CheckpointManagerOptions(
    max_to_keep=1, enable_async_checkpointing=False
  )
  return ocp.CheckpointManager(pathlib.Path(folder).resolve(), options=options)


def save(folder, progress: loop.Progress, identity: dict) -> None:
  """Replaces the checkpoint in a folder.

  Args:
    folder: of the checkpoints; made if need be.
    progress: last state and best state, and what they need to go on.
    identity: plain values by name that a run must share to load this.
  """
  import orbax.checkpoint as ocp

  tree = {part: getattr(progress, part) for part in PARTS}
  about = {
    'stage': progress.stage,
    'epoch': progress.epoch,
    'identity': identity,
  }
  with _manager(folder) as manager:
    manager.save(
      (manager.latest_step() or 0) + 1,
      args=ocp.args.Composite(
        tree=ocp.args.StandardSave(tree), about=ocp.args.JsonSave(about)
      ),
    )


def restore(folder, identity: dict, model, key, data, hyper):
  """The `Progress` in a folder, or None where there is none.

  Args:
    folder: of the checkpoints.
    identity: as it was saved; otherwise `WrongCheckpoint` names what differs.
    model, key, data, hyper: as given to `train.fit`.
  """
  import orbax.checkpoint as ocp

  if not pathlib.Path(folder).is_dir():
    return None
  with _manager(folder) as manager:
    step = manager.latest_step()
    if step is None:
      return None
    args = ocp.args.Composite(about=ocp.args.JsonRestore())
    about = manager.restore(step, args=args).about
    _check_identity(folder, about['identity'], identity)
    shapes = loop.abstract(model, key, data, hyper, about['stage'])
    tree = {part: getattr(shapes, part) for part in PARTS}
    args = ocp.args.Composite(tree=ocp.args.StandardRestore(tree))
    tree = manager.restore(step, args=args).tree
  host = {name: np.asarray(tree.pop(name)) for name in HOST}
  # A copy that XLA owns: the loop donates the state.
  tree = _copied(tree) | host
  return loop.Progress(stage=about['stage'], epoch=about['epoch'], **tree)


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
      f' {"; ".join(differs)}. Use another folder, or delete this one'
    )
