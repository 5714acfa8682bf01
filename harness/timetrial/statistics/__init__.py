"""Estimators of quality at k samples, their errors, and the seconds they cost. Pure functions of numpy arrays."""
