"""Whether a difference between two methods is more than chance."""

import numpy as np

# How often a user is drawn, by a random byte: the Poisson law of mean 1 in
# 256ths, with a mean of 1, a variance of 1 and hardly any skew lost.
DRAWN = bytes(np.repeat(np.arange(6), (94, 95, 46, 16, 4, 1)).tolist())
CELLS = 1 << 22  # Draws that are held at a time.


def paired_bootstrap(
  difference, weight, resamples: int = 10_000, seed: int = 0
) -> float:
  """The two-sided p-value of a mean difference of 0, by resampling users.

  Each user is drawn a Poisson number of times (Hanley and MacGibbon 2006)
  rather than all of them a multinomial number: the draws are independent, hence
  ten times as fast, and with few users false alarms are rarer. As
  `sum(difference) / sum(weight)` has the sign of its numerator, that alone is
  resampled.

  Args:
    difference: `[U]` the sum of a user's paired differences.
    weight: `[U]` how many those are; users with none are dropped.
    resamples: how often; no p-value is below `2 / (1 + resamples)`.
    seed: of the draws.
  """
  difference = _observed(difference, weight)
  rng = np.random.default_rng(seed)
  block = min(resamples, max(1, CELLS // difference.size))
  blocks = range(-(-resamples // block))
  sums = [_resampled(rng, difference, block) for _ in blocks]
  sums = np.concatenate(sums)[:resamples]
  rounding = 1e-6 * np.abs(difference).sum()  # A tie is a tie, also rounded.
  tail = min((sums <= rounding).sum(), (sums >= -rounding).sum())
  return min(1.0, 2 * (1 + int(tail)) / (1 + resamples))


def _observed(difference, weight):
  """The differences of users that have any, scaled to at most 1."""
  difference, weight = np.asarray(difference, float), np.asarray(weight, float)
  if difference.ndim != 1 or difference.shape != weight.shape:
    shapes = f'{difference.shape} and {weight.shape}'
    raise ValueError(f'a difference and a weight a user, not shapes {shapes}')
  if not np.isfinite(difference).all():
    raise ValueError('a difference is not finite; has a method diverged?')
  if not (weight >= 0).all() or not weight.any():
    raise ValueError('weights count observations; none is negative, some not 0')
  kept = difference[weight > 0]
  return (kept / (np.abs(kept).max() or 1)).astype(np.float32)


def _resampled(rng, difference, n):
  """The sums of `[n]` resamples."""
  drawn = rng.bytes(n * difference.size).translate(DRAWN)
  counts = np.frombuffer(drawn, np.uint8).reshape(n, -1)
  return counts.astype(np.float32) @ difference


def holm(p_values) -> np.ndarray:
  """p-values that hold for all tests together, in their order (Holm 1979)."""
  p_values = np.asarray(p_values, float)
  if not ((p_values >= 0) & (p_values <= 1)).all():
    raise ValueError(f'p-values are from 0 to 1, not {p_values}')
  order = np.argsort(p_values, kind='stable')
  left = np.arange(p_values.size, 0, -1)  # Tests that were not yet rejected.
  adjusted = np.empty_like(p_values)
  adjusted[order] = np.maximum.accumulate(p_values[order] * left).clip(max=1)
  return adjusted
