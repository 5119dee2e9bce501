"""Raw files to ratings, pairs and splits: the host side, NumPy and polars."""
