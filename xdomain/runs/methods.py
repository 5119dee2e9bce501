"""A `Spec` -> the model and the hyper-parameters that it stands for."""

import importlib
import inspect
from types import ModuleType
from typing import Any, NamedTuple

import jax.numpy as jnp

from xdomain import base, models, shards
from xdomain.runs import spec as specs


class Method(NamedTuple):
  """A model with its hyper-parameters, ready to train."""

  model: base.Model
  hyper: Any  # leaves [], or [W] for a sweep
  members: list[dict[str, float]]  # the same as Python numbers; of several
  # seeds, all of the first, then all of the next
  axes: shards.Axes = shards.ONE  # of the mesh that it is trained on


def module(name: str) -> ModuleType:
  """The module of a method; `SpecError` where there is none."""
  specs.check_name('method', name, models.names())
  return importlib.import_module(f'xdomain.models.{name}')


def settings(name: str) -> dict[str, Any]:
  """The settings of a method's `model` with their defaults, by name."""
  _, *parameters = inspect.signature(module(name).model).parameters.values()
  return {each.name: each.default for each in parameters}


def of(spec: specs.Spec, sizes: base.Sizes) -> Method:
  """The model and the hyper-parameters of a spec.

  Raises:
    SpecError: a method, setting, variant or hyper-parameter is not known.
  """
  method = check(spec)
  try:
    model = method.model(sizes, **spec.model)
  except ValueError as error:
    raise specs.SpecError(f'model: {error}') from None
  if model.stages[-1].predict is None:
    raise specs.SpecError(
      f'the last stage of {spec.method} has no predict: nothing would choose its epoch'
    )
  members = specs.members(spec) * max(1, len(spec.sweep.seed))
  if not specs.is_sweep(spec):
    hyper = method.Hyper(*map(jnp.float32, method.Hyper(**members[0])))
  else:
    columns = zip(*(method.Hyper(**member) for member in members))
    hyper = method.Hyper(*(jnp.asarray(c, jnp.float32) for c in columns))
  return Method(model, hyper, members)


def check(spec: specs.Spec) -> ModuleType:
  """The module of a spec's method; `SpecError` where a field is wrong."""
  method = module(spec.method)
  known = method.Hyper._fields
  specs.check_names('hyper', spec.hyper, known, spec.method)
  specs.check_names('model', spec.model, settings(spec.method), spec.method)
  specs.check_numbers(spec)
  for member in spec.sweep.members:
    specs.check_names('sweep.members', member, known, spec.method)
  fault_of = getattr(method, 'fault', lambda hyper: '')
  for member in specs.members(spec):
    if fault := fault_of(method.Hyper(**member)):
      raise specs.SpecError(f'hyper of {spec.method}: {fault}')
  return method
