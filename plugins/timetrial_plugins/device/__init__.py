"""Decode steps of kernels: any family's layers as a walk over the operations of `ops`, in static memory.

A step is one function of its bucket: it reads and writes tensors that stay where they are, asks the host for nothing,
and so can be recorded, on a GPU as a CUDA graph and on a CPU as a list of calls. The modules' own steps are what it is
tested against.

Legend, for all modules of this package:
    R rows allocated    B rows of a bucket    D model width    V vocabulary    L layers of one kind
    G key/value heads    P channels per head    S slots of a row's keys and values    M prompts    T tokens of a prompt
"""
