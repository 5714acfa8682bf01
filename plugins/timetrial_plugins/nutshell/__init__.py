"""The nutshell: a small reasoning task that is generated, not downloaded, and small models trained on it."""
