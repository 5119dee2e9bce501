"""A pair becomes a split: what to train on, to choose by and to test on."""

import fractions
import math

import numpy as np

from xdomain.base import Held, HeldOut, Pair, Split
from xdomain.data import kept, pairs
from xdomain.data.tables import DataError


def by_ratio(pair: Pair, seed: int, *, test=0.1, valid=0.1) -> Split:
  """Holds ratings out uniformly, in each domain by itself.

  Of N ratings, `floor(N test)` are tested on and `floor(rest valid)` of the
  rest choose between models. A user may lose every rating: the row stays.

  Args:
    pair: everything that was rated.
    seed: decides both domains, each from a stream of its own.
    test: share of the ratings to test on.
    valid: share of the other ratings to validate on.

  Raises:
    DataError: a set would be empty.
    ValueError: a share is not between 0 and 1, or the seed is negative.
  """
  for name, share in (('test', test), ('valid', valid)):
    if not 0 < share < 1:
      raise ValueError(f'{name} must be a share between 0 and 1, not {share}.')
  if seed < 0:
    raise ValueError(f'seed must not be negative, not {seed}.')
  source = _three(pair.source, [seed, 0], test, valid, 'source')
  target = _three(pair.target, [seed, 1], test, valid, 'target')
  train, validation, testing = zip(source, target, strict=True)
  return Split(
    pair._replace(source=train[0], target=train[1]),
    Held(*validation),
    Held(*testing),
  )


def digest(split: Split) -> str:
  """SHA-256 of every event and where it went."""
  return kept.sha256(split)


def _three(ratings, seed, test, valid, domain):
  """Training ratings, and what is held out to validate and to test."""
  n = ratings.user.size
  n_test = _floor(n, test)
  n_valid = _floor(n - n_test, valid)
  if min(n_test, n_valid, n - n_test - n_valid) < 1:
    raise DataError(
      f'The {domain} has {n} ratings: test={test} and valid={valid} leave '
      f'{n - n_test - n_valid} to train on, {n_valid} to validate and {n_test} '
      'to test. Each needs at least one: change the shares or lower the floor '
      'that users must pass.'
    )
  part = np.zeros(n, np.int8)
  order = np.random.default_rng(seed).permutation(n)
  part[order[:n_test]] = 2
  part[order[n_test : n_test + n_valid]] = 1
  return (
    pairs.take(ratings, part == 0),
    _held_out(ratings, part == 1),
    _held_out(ratings, part == 2),
  )


def _floor(n, share):
  """`floor(n share)` of the decimal as written: 100 x 0.29 is 29, not 28."""
  return math.floor(n * fractions.Fraction(str(share)))


def _held_out(ratings, chosen):
  return HeldOut(
    ratings.user[chosen], ratings.item[chosen], ratings.value[chosen]
  )
