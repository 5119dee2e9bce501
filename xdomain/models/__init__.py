"""One file a method: `Hyper` and `model(sizes, **settings) -> Model`."""

import functools
import pkgutil


@functools.cache
def names() -> tuple[str, ...]:
  """The methods there are, without importing any of them."""
  return tuple(module.name for module in pkgutil.iter_modules(__path__))
