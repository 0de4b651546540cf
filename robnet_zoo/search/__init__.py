"""The searches that find robust architectures: `python -m robnet_zoo.search --help`.

What they share lies here; a folder for each algorithm holds what is its own:

- `spaces`, `mixed`, `supernet`: what can be found, and the one network that contains all of it;
- `recipe`, `data`, `learner`, `loop`: the settings, the two halves of the data, and the loop that
  trains weights and architecture, resumable at any moment;
- `discretise`, `folder`: from architecture weights to a genotype, and the files of a search.
"""
