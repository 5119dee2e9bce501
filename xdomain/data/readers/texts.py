"""Review texts -> auxiliary user vectors, by Doc2Vec (Le and Mikolov 2014).

A review reveals which item its writer rated and how much the writer liked it, so the
reviews of held-out interactions are left out before anything is counted. Doc2Vec is
gensim's, with its defaults: 5 noise words, words that occur at least 5 times, frequent
words thinned at 1e-3, a learning rate that falls from 0.025 to 1e-4.
"""

import functools
import itertools
import operator
import re
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from xdomain.data.types import DataError, Split

Text = tuple[int, int, str]  # user, item and the user's review of the item

LONGEST = 10_000  # gensim ignores the words of a document after so many.


def numbered(texts: Iterable, users: Iterable[str], items: Iterable[str]) -> list[Text]:
  """Returns the texts under a domain's numbers of users and items, without others.

  Args:
    texts: of one domain, as a reader gives them: raw user, raw item, text.
    users: `[U]` raw ids, as in `Ids.users`.
    items: raw ids of the same domain, as in `Ids.target`.
  """
  user_of = {str(raw): number for number, raw in enumerate(users)}
  item_of = {str(raw): number for number, raw in enumerate(items)}
  return [
    (user_of[user], item_of[item], text)
    for user, item, text in texts
    if user in user_of and item in item_of
  ]


def kept_back(
  texts: Collection[Text], split: Split, domain: str = 'target'
) -> set[tuple[int, int]]:
  """Returns `(user, item)` of the texts that models of a split must not read.

  These are the reviews of all interactions that predictions may not look at: held-out
  ones and, of cold-start users, also those of items that are not shown or were rated
  too low to be a positive.
  """
  seen = getattr(split.shown or split.train, domain)
  seen = set(zip(seen.user.tolist(), seen.item.tolist()))
  return {(user, item) for user, item, _ in texts} - seen


def words(text: str) -> list[str]:
  """Returns the runs of letters and digits of a text, in lower case."""
  return re.findall(r'[^\W_]+', text.lower())


def user_vectors(
  texts: Iterable[Text],
  held_out: Collection[tuple[int, int]],
  n_users: int,
  *,
  new: Collection[int] = (),
  dimensions: int = 256,
  seed: int,
  epochs: int = 10,
  dm: int = 0,
) -> np.ndarray:
  """Returns `[U, A]`, a vector of each user's reviews in one domain.

  Dimensions are standardised over the users that are not new. Users without a word of
  the vocabulary have zeros.

  Args:
    texts: user, item and review.
    held_out: `(user, item)` of the reviews to leave out.
    n_users: U.
    new: users whose reviews only shape their own vectors: the vocabulary, the word
      vectors and the scale are those of the other users.
    dimensions: A.
    seed: decides the vectors; they are the same in every process.
    epochs: passes over the reviews.
    dm: 0 to predict a user's words (PV-DBOW), 1 to predict each word from its
      neighbours as well (PV-DM).

  Raises:
    DataError: gensim is not installed, or no word is frequent enough.
  """
  read = readable(texts, held_out)
  is_new = np.isin(np.arange(n_users), list(new))
  old = _Reviews([each for each in read if not is_new[each[0]]])
  late = _Reviews([each for each in read if is_new[each[0]]])
  model = _trained(old, dimensions, seed, epochs, dm)
  vectors = np.zeros((n_users, dimensions), np.float32)
  vectors[: len(model.dv)] = model.dv.vectors
  _fit_new(model, late, vectors)
  heard = np.zeros(n_users, np.bool_)
  for document in itertools.chain(old, late):
    heard[document.tags] |= any(word in model.wv for word in document.words)
  return _standardised(vectors, heard, heard & ~is_new)


def readable(
  texts: Iterable[Text], held_out: Collection[tuple[int, int]]
) -> list[tuple[int, str]]:
  """Returns user and review, sorted by user, without those in `held_out`."""
  held_out = set(held_out)
  read = [(u, text) for u, item, text in texts if (u, item) not in held_out]
  return sorted(read, key=operator.itemgetter(0))


class _Reviews:
  """An iterable of Doc2Vec's documents: words, tagged by their user.

  Documents of one user share a vector, so a long text becomes several documents.
  """

  def __init__(self, texts: list[tuple[int, str]]):
    self.texts = texts

  def __iter__(self):
    for user, text in self.texts:
      said = words(text)
      for start in range(0, len(said), LONGEST):
        yield _doc2vec().TaggedDocument(said[start : start + LONGEST], [user])


def _doc2vec():
  try:
    from gensim.models import doc2vec
  except ImportError:
    raise DataError(
      "vectors of review texts need gensim, which is an extra: pip install -e '.[text]'"
    ) from None
  return doc2vec


def _trained(reviews, dimensions, seed, epochs, dm):
  """Returns a model of some users' reviews, on one thread, so that it is repeatable."""
  model = _doc2vec().Doc2Vec(
    vector_size=dimensions, seed=seed, epochs=epochs, dm=dm, workers=1
  )
  model.build_vocab(reviews)
  if not len(model.wv):
    raise DataError(
      f'no word occurs {model.min_count} times in the {len(reviews.texts)} reviews'
      ' that may be read: vectors cannot be learnt from them'
    )
  model.train(reviews, total_examples=model.corpus_count, epochs=epochs)
  return model


def _fit_new(model, reviews, vectors):
  """Fits rows of `vectors` `[U, A]` in place, with all other parameters frozen.

  This is gensim's `infer_vector`, but for several documents a user, and from a
  start that does not come from `hash`, which differs between processes.
  """
  learn = _frozen_step(model)
  for (user,), documents in itertools.groupby(reviews, lambda each: each.tags):
    model.random = np.random.RandomState([model.seed, user])
    start = model.random.uniform(-1, 1, model.vector_size)
    vectors[user] = start / model.vector_size
    said = [each.words for each in documents]
    for rate in np.linspace(model.alpha, model.min_alpha, model.epochs):
      for each in said:
        learn(each, [user], rate, doctag_vectors=vectors)


def _frozen_step(model):
  """gensim's step on one document, without changing the word vectors."""
  options: dict[str, Any] = dict(learn_words=False, learn_hidden=False)
  options['doctags_lockf'] = np.ones(1, np.float32)
  # A buffer that gensim allocates here itself is freed before it is used.
  options['work'] = np.zeros(model.vector_size, np.float32)
  if not model.dm:
    return functools.partial(_doc2vec().train_document_dbow, model, **options)
  options['neu1'] = np.zeros(model.vector_size, np.float32)
  return functools.partial(_doc2vec().train_document_dm, model, **options)


def _standardised(vectors, heard, trained):
  """Scales to mean 0, variance 1 over `trained` `[U]`; 0 for users without words."""
  deviation = vectors[trained].std(axis=0)
  scaled = vectors - vectors[trained].mean(axis=0)
  scaled /= np.where(deviation > 0, deviation, 1)
  return np.where(heard[:, None], scaled, 0)
