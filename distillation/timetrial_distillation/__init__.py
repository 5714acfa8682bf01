"""Recipes that make models: training from scratch, distillation of students in stages, fine-tuning."""
