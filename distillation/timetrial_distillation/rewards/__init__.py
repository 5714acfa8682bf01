"""Reward models trained here: labels of steps by rollouts or from data sets, training, and how good they are."""
