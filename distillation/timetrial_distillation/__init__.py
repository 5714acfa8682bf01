"""Recipes that make models: training from scratch now, distillation of students next."""
