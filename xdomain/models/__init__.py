"""One file a method: `Hyper` and `model(sizes, **settings) -> Model`."""

import pkgutil


def names() -> list[str]:
  """The methods there are, without importing any of them."""
  return [module.name for module in pkgutil.iter_modules(__path__)]
