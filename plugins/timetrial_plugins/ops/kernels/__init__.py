"""Triton kernels of a decode step, one operation a module, and what launches them.

Importing a module of this package imports Triton. A kernel takes pointers, sizes and strides one by one, in elements;
axes that the launcher does not name a stride for are contiguous. Blocks are powers of two and masked. Arithmetic is
float32; values are rounded where the reference rounds them. Nothing is tuned in place, because kernels write over what
they read: `launch` has the block sizes.
Legend: see `timetrial_plugins.ops`.
"""
