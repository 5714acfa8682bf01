"""What a student learns from its teacher: losses, and the stages of MOHAWK and MambaInLlama made of them.

Needs torch and the models; nothing here knows data files, optimizers, schedules or checkpoints.
"""
