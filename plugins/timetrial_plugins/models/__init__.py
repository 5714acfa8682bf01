"""Model families: their modules in plain PyTorch, how checkpoints are read, and the plugin that offers them."""
