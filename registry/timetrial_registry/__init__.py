"""What checkpoints exist and what they are."""
