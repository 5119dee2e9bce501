"""Splits a function of parameters and a user into a part without users and the rest."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core

from xdomain import base

# Calls that are looked into, and the parameter that holds their equations.
CALLS = {
  'jit': 'jaxpr',
  'pjit': 'jaxpr',
  'closed_call': 'call_jaxpr',
  'custom_jvp_call': 'call_jaxpr',
  'custom_vjp_call': 'call_jaxpr',
}
# Equations that cost nothing: they stay beside the equation that reads them.
LAYOUT = (
  *('iota', 'broadcast_in_dim', 'reshape', 'transpose', 'squeeze', 'expand_dims'),
  *('random_seed', 'random_wrap', 'random_unwrap', 'random_fold_in', 'random_split'),
)


class _Slot:
  """A value that an equation reads or writes."""

  def __init__(self, known: bool, value: Any = None):
    self.known, self.value = known, value


class _Step(NamedTuple):
  equation: Any
  reads: list  # of _Slot, or literals
  writes: list[_Slot]


class Hoisted(NamedTuple):
  """`rest(values, *user)` is the function; `values` are computed once, named."""

  values: dict[str, base.Array]
  rest: Callable[..., Any]


def hoist(
  function: Callable[..., base.Array], parameters: dict[str, Any], *user: Any
) -> Hoisted:
  """Computes everything that does not depend on the user, and keeps the values in use.

  An exported program then holds one user's work alone: ALS's Gramian, an item
  encoder or a neighbourhood is a value beside it, and arrays that nothing reads are
  dropped.

  Args:
    function: `(parameters, *user) -> array`.
    parameters: arrays by name.
    *user: shapes and dtypes of the other arguments.
  """
  names = list(parameters)
  closed = jax.make_jaxpr(
    lambda values, *rest: function(dict(zip(names, values)), *rest)
  )(list(parameters.values()), *user)
  inputs = [_Slot(True) for _ in names]
  own = [_Slot(False) for _ in user]
  steps, outputs = _flat(closed, [*inputs, *own])
  later = _needed(steps, outputs)
  wanted = _boundary(later, outputs)
  computed = jax.jit(lambda values: _run(steps, dict(zip(inputs, values)), wanted))(
    list(parameters.values())
  )
  given = dict(zip(inputs, names))
  keys = [given.get(slot, f'computed/{at}') for at, slot in enumerate(wanted)]

  def rest(values, *user):
    known = {slot: values[key] for slot, key in zip(wanted, keys)}
    return _run(later, known | dict(zip(own, user)), outputs)[0]

  return Hoisted(dict(zip(keys, computed)), rest)


def _flat(closed, reads):
  """The equations of a function with those of its calls in their places."""
  slots = dict(zip(closed.jaxpr.invars, reads, strict=True))
  constants = [_Slot(True, value) for value in closed.consts]
  slots |= dict(zip(closed.jaxpr.constvars, constants))

  def of(variable):
    return variable if isinstance(variable, core.Literal) else slots[variable]

  steps = []
  for equation in closed.jaxpr.eqns:
    inner = equation.params.get(CALLS.get(equation.primitive.name))
    arguments = [of(variable) for variable in equation.invars]
    if inner is not None:
      if not isinstance(inner, core.ClosedJaxpr):
        inner = core.ClosedJaxpr(inner, ())
      more, results = _flat(inner, arguments)
      steps += more
      slots |= zip(equation.outvars, results)
      continue
    known = all(_known(slot) for slot in arguments)
    writes = [_Slot(known) for _ in equation.outvars]
    slots |= zip(equation.outvars, writes)
    steps.append(_Step(equation, arguments, writes))
  return steps, [of(variable) for variable in closed.jaxpr.outvars]


def _known(slot):
  return isinstance(slot, core.Literal) or slot.known


def _needed(steps, outputs):
  """The steps that a user's values flow through, and the layout that these read."""
  wanted, chosen = set(map(id, outputs)), []
  for step in reversed(steps):
    known = all(slot.known for slot in step.writes)
    stays = not known or step.equation.primitive.name in LAYOUT
    if stays and wanted & set(map(id, step.writes)):
      chosen.append(step)
      wanted |= set(map(id, step.reads))
  return chosen[::-1]


def _boundary(steps, outputs):
  """The known slots that steps read and do not write."""
  written = {id(slot) for step in steps for slot in step.writes}
  read = [slot for step in steps for slot in step.reads] + list(outputs)
  found = {
    id(slot): slot
    for slot in read
    if isinstance(slot, _Slot)
    and slot.known
    and slot.value is None
    and id(slot) not in written
  }
  return list(found.values())


def _run(steps, known: dict, wanted: Sequence):
  """The values of slots, by the steps that they rest on."""
  values = {id(slot): value for slot, value in known.items()}

  def of(slot):
    if isinstance(slot, core.Literal):
      return slot.val
    return slot.value if slot.value is not None else values[id(slot)]

  for step in steps:
    there = all(
      isinstance(slot, core.Literal) or slot.value is not None or id(slot) in values
      for slot in step.reads
    )
    if not there:  # The step depends on a user, and the wanted values do not.
      continue
    results = _evaluate(step.equation, map(of, step.reads))
    values |= {id(slot): result for slot, result in zip(step.writes, results)}
  return [of(slot) for slot in wanted]


def _evaluate(equation, values):
  """The results of one equation, by a function that consists of it."""
  given = {
    variable: value
    for variable, value in zip(equation.invars, values)
    if not isinstance(variable, core.Literal)
  }
  about = core.DebugInfo('hoist', equation.primitive.name, None, None)
  jaxpr = core.Jaxpr((), [*given], equation.outvars, [equation], debug_info=about)
  return core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, ()))(*given.values())
