"""Reference operations of the recurrent layers in plain PyTorch, for any device: the oracle of every faster path.

Each operation has three forms that agree: `step` reads one token, `sequential` is a loop of steps, `chunked` works on
a chunk of tokens at once and hands the state from chunk to chunk. All are differentiable and none writes in place.
Arithmetic is float32 (float64 where the inputs are) whatever the type of the weights.

Legend, for all modules of this package:
    B batch    T tokens    C convolution channels    K convolution width
    H heads    G groups of heads that share b and c    P channels per head    N state size    Q tokens of a chunk

`doc_ids` (B, T) are integers; a row's tokens with equal ids are one document, and documents are contiguous. No tap, no
decay and no state crosses from one document to the next. The state or window that an operation starts from belongs to
the first document of the row, and what it returns belongs to the last. None means one document a row.
"""
