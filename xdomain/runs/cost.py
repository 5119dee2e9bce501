"""The cost of a run: peak memory and, where the machine counts it, energy.

Energy is that of the whole machine part: the processor packages by Intel's RAPL
counters, which AMD has too, and the first GPU by NVML. What no counter tells is None.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax

RAPL = pathlib.Path('/sys/class/powercap')


@contextlib.contextmanager
def measured(spent: dict[str, Any]) -> Iterator[None]:
  """Adds `peak_memory`, in bytes, and `energy`, in joules, to `spent` at the end."""
  _reset_peak()
  before = _counters()
  try:
    yield
  finally:
    after = _counters()
    spent |= {'peak_memory': _peak(), 'energy': _used(before, after)}


def _reset_peak():
  with contextlib.suppress(OSError):  # Linux; elsewhere the peak is not known.
    pathlib.Path('/proc/self/clear_refs').write_text('5')


def _peak() -> int | None:
  """Bytes of the accelerator, or of this process on a CPU."""
  device = jax.local_devices()[0]
  if device.platform != 'cpu':
    return (device.memory_stats() or {}).get('peak_bytes_in_use')
  try:
    status = pathlib.Path('/proc/self/status').read_text()
  except OSError:
    return None
  peak = [line.split()[1] for line in status.splitlines() if line.startswith('VmHWM')]
  return 1024 * int(peak[0]) if peak else None


def _counters() -> dict[str, tuple[float, float]]:
  """Joules by counter, and the number at which the counter starts again."""
  found = {}
  for path in sorted(RAPL.glob('*-rapl:[0-9]')):
    with contextlib.suppress(OSError, ValueError):  # Often for root alone.
      joules, most = (
        int((path / name).read_text()) / 1e6
        for name in ('energy_uj', 'max_energy_range_uj')
      )
      found[path.name] = joules, most
  if jax.local_devices()[0].platform == 'gpu':
    with contextlib.suppress(Exception):  # Each missing part has an error of its own.
      import pynvml  # pyright: ignore[reportMissingImports]

      pynvml.nvmlInit()
      device = pynvml.nvmlDeviceGetHandleByIndex(0)
      joules = pynvml.nvmlDeviceGetTotalEnergyConsumption(device) / 1e3
      found['nvml:0'] = joules, float('inf')
  return found


def _used(before, after) -> float | None:
  """The joules between two readings; None without a counter."""
  both = before.keys() & after.keys()
  if not both:
    return None
  used = 0.0
  for name in both:
    (first, most), (last, _) = before[name], after[name]
    used += last - first if last >= first else last - first + most
  return round(used, 1)
