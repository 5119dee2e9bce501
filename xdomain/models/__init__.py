"""One file a method: `Hyper` and `model(sizes, **settings) -> Model`."""
