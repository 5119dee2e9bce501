"""xdomain: cross-domain recommendation in JAX.

base        the words: Ratings, Pair, Split (host); Rows, Arrays (device);
            Stage, Model, Queries
data/       files -> Dataset -> Split -> Arrays and Queries
ops/        array in, array out: sparse rows, losses, reversal, sampling
models/     one file a method: `Hyper` and `model(sizes, **settings)`
train, members    one loop for every method, alone or as a sweep
evaluate, ranking    scores -> errors and ranks -> measures with intervals
nets, squares    layers, and least squares, that several methods share
checkpoint, results    what a run leaves behind
report, significance, typeset, figures    records -> tables and plots
"""

# Tables take records of their own version only: a change that moves results
# beyond rounding raises it.
__version__ = '0.1.0'
