"""The operations of a decode step between its matrix products: plain PyTorch, Triton kernels, other libraries' kernels.

Legend, for all modules of this package:
    B rows    D model width    E inner width    F MLP width    V vocabulary
    C convolution channels    K convolution width    H heads    P channels per head    N state size
    G groups of heads that share B and C, or key/value heads    X width of x and B as hybrids project them
    S slots of a row's keys and values    M prompts    T tokens of a prompt    L steps between writes of a state
"""
