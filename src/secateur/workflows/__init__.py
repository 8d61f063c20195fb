"""From a configuration to objects to a run folder; the only part that knows Hydra."""

from secateur.runtime.allocator import ask_for_large_pages

ask_for_large_pages()  # before the imports of any command make the first tensor
