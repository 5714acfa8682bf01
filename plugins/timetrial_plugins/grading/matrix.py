"""Read matrices and what is computed with them: sums, products, multiples, powers, transposes, determinants.

Cells are formulas; nothing but their rational numbers is worked out here. Columns in pointed brackets are tuples.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from timetrial_plugins.grading.expression import Node, parse
from timetrial_plugins.grading.formula import has_names, node_key
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.structure import DEPTH, Key, split

MAX_CELLS = 64
MAX_NODES = 4_000
"""In the formulas of all cells together."""
MAX_POWER = 16

Matrix = tuple[tuple[Node, ...], ...]
_NAMES = frozenset(("pmatrix", "bmatrix", "matrix", "array", "smallmatrix", "Bmatrix", "vmatrix"))
_TRANSPOSE = frozenset(("T", r"\top", r"\intercal", "t"))
_ONE: Node = ("number", Fraction(1))


def matrix_key(tokens: list[str], key_of: Callable[[list[str]], Key]) -> Key:
    """Return the key of tokens that hold a matrix: one matrix, or the result of what is computed.

    Raises:
        Unreadable: it is not understood, or does not fit.
    """
    is_single = tokens[0] == r"\begin" and tokens[-4:-3] == [r"\end"] and tokens.count(r"\begin") == 1
    if is_single and tokens[2] != "vmatrix":
        rows = _cells(tokens)
        return ("matrix", *(tuple(key_of(cell) for cell in row) for row in rows))
    value = _sum(tokens)
    if isinstance(value[0], str):
        return node_key(value)
    return ("matrix", *(tuple(node_key(cell) for cell in row) for row in value))


def rows_of(tokens: list[str], name: str) -> list[list[list[str]]] | None:
    """Return the cells of an environment of this name that is all there is, row by row; None if it is another."""
    if tokens[:4] != [r"\begin", "{", name, "}"] or tokens.count(r"\begin") != 1:
        return None
    return _rows(tokens[4:-4])


def _rows(body: list[str]) -> list[list[list[str]]]:
    return [split(row, ("&",)) for row in split(body, ("\\\\",)) if row]


def _cells(tokens: list[str]) -> list[list[list[str]]]:
    if len(tokens) < 9 or tokens[2] not in _NAMES or tokens[-4:] != [r"\end", "{", tokens[2], "}"]:
        raise Unreadable("something that is no matrix")
    body = tokens[4:-4]
    if tokens[2] == "array" and body[:1] == ["{"]:
        body = body[body.index("}") + 1 :]
    rows = _rows(body)
    if not rows or sum(len(row) for row in rows) > MAX_CELLS or len({len(row) for row in rows}) > 1:
        raise Unreadable("a matrix with rows of different length, or with too many cells")
    return rows


def _sum(tokens: list[str]) -> Node | Matrix:
    terms: list[tuple[str, list[str]]] = [("+", [])]
    depth = 0
    for token in tokens:
        depth += DEPTH.get(token, 0)
        is_sign = token in ("+", "-") and depth == 0
        if is_sign and not terms[-1][1]:
            terms[-1] = ("-" if (token == "-") != (terms[-1][0] == "-") else "+", [])
        elif is_sign and terms[-1][1][-1] not in ("*", "/", "^"):
            terms.append((token, []))
        else:
            terms[-1][1].append(token)
    values = [_signed(sign, _product(term)) for sign, term in terms]
    total = values[0]
    for value in values[1:]:
        total = _added(total, value)
    return total


def _product(tokens: list[str]) -> Node | Matrix:
    value: Node | Matrix | None = None
    scalars: list[str] = []
    position = 0
    while position < len(tokens):
        end = _group_end(tokens, position)
        group = tokens[position:end]
        position = end
        if r"\begin" not in group:
            scalars += group
            continue
        is_determinant = scalars[-1:] == [r"\det"]
        factor = _group_value(group)
        value = _times(value, scalars[:-1] if is_determinant else scalars)
        if tokens[position : position + 1] == ["^"]:
            end = _group_end(tokens, position + 1)
            factor = _raised(factor, tokens[position + 1 : end])
            position = end
        value = _multiplied(value, _determinant(factor) if is_determinant else factor)
        scalars = []
    value = _times(value, scalars)
    if value is None:
        raise Unreadable("a matrix is missing")
    return value


def _group_end(tokens: list[str], position: int) -> int:
    """Return the place after the token at a place, or after the group that it opens."""
    if position >= len(tokens):
        raise Unreadable("unexpected end")
    if tokens[position] == "|":
        depth = 0
        for end in range(position + 1, len(tokens)):
            depth += (tokens[end] == r"\begin") - (tokens[end] == r"\end")
            if depth == 0 and tokens[end] == "|":
                return end + 1
        raise Unreadable("a bracket that is not closed")
    depth = 0
    for end in range(position, len(tokens)):
        depth += DEPTH.get(tokens[end], 0)
        if depth == 0:
            return end + 4 if tokens[end] == r"\end" else end + 1
    raise Unreadable("a bracket that is not closed")


def _group_value(group: list[str]) -> Node | Matrix:
    if group[0] == "|":
        return _determinant(_sum(group[1:-1]))
    if group[0] != r"\begin":
        return _sum(group[1:-1])
    value = tuple(tuple(_folded(parse(cell)) for cell in row) for row in _cells(group))
    return _determinant(value) if group[2] == "vmatrix" else value


def _times(value: Node | Matrix | None, scalars: list[str]) -> Node | Matrix | None:
    """Multiply by what is written between two matrices: nothing, a sign of multiplication, a formula, / a formula."""
    while scalars and scalars[-1] == "*":
        scalars = scalars[:-1]
    while scalars and scalars[0] == "*":
        scalars = scalars[1:]
    if not scalars:
        return value
    node = parse(["1", *scalars] if scalars[0] == "/" else scalars)
    return node if value is None else _multiplied(value, node)


def _multiplied(left: Node | Matrix | None, right: Node | Matrix) -> Node | Matrix:
    if left is None:
        return right
    if _is_scalar(left) and _is_scalar(right):
        return _folded(("*", left, right))
    if _is_scalar(left):
        return _bounded(tuple(tuple(_folded(("*", left, cell)) for cell in row) for row in right))
    if _is_scalar(right):
        return _bounded(tuple(tuple(_folded(("*", cell, right)) for cell in row) for row in left))
    if len(left[0]) != len(right):
        raise Unreadable("matrices that do not fit")
    columns = list(zip(*right, strict=True))
    return _bounded(tuple(tuple(_dot(row, column) for column in columns) for row in left))


def _dot(row: tuple[Node, ...], column: tuple[Node, ...]) -> Node:
    total: Node = ("number", Fraction(0))
    for one, other in zip(row, column, strict=True):
        total = ("+", total, ("*", one, other))
    return _folded(total)


def _added(left: Node | Matrix, right: Node | Matrix) -> Node | Matrix:
    if _is_scalar(left) != _is_scalar(right):
        raise Unreadable("the sum of a matrix and a number")
    if _is_scalar(left):
        return ("+", left, right)
    if len(left) != len(right) or len(left[0]) != len(right[0]):
        raise Unreadable("matrices that do not fit")
    rows = zip(left, right, strict=True)
    return _bounded(tuple(tuple(_folded(("+", a, b)) for a, b in zip(one, two, strict=True)) for one, two in rows))


def _signed(sign: str, value: Node | Matrix) -> Node | Matrix:
    return value if sign == "+" else _multiplied(("number", Fraction(-1)), value)


def _raised(value: Node | Matrix, exponent: list[str]) -> Node | Matrix:
    """Return the transpose, the inverse or an integer power."""
    inner = [token for token in exponent if token not in ("{", "}", "'T")] or ["T"]
    if _is_scalar(value):
        return ("^", value, parse(exponent))
    if inner[0] in _TRANSPOSE and len(inner) == 1:
        return tuple(zip(*value, strict=True))
    text = "".join(inner)
    if text.removeprefix("-").isdigit() and 0 < abs(int(text)) <= MAX_POWER:
        base = _inverse(value) if text[0] == "-" else value
        power = base
        for _ in range(abs(int(text)) - 1):
            power = _multiplied(power, base)
        return power
    raise Unreadable("a power of a matrix that is not understood")


def _determinant(value: Node | Matrix) -> Node:
    if _is_scalar(value) or len(value) != len(value[0]):
        raise Unreadable("the determinant of what is not square")
    if len(value) == 1:
        return value[0][0]
    total: Node = ("number", Fraction(0))
    for column, cell in enumerate(value[0]):
        term = ("*", cell, _determinant(_minor(value, 0, column)))
        total = ("+", total, term if column % 2 == 0 else ("-", term))
    if _num_nodes(total) > MAX_NODES:
        raise Unreadable("a determinant that is too large")
    return _folded(total)


def _minor(matrix: Matrix, row: int, column: int) -> Matrix:
    rows = matrix[:row] + matrix[row + 1 :]
    return _bounded(tuple(cells[:column] + cells[column + 1 :] for cells in rows))


def _inverse(matrix: Matrix) -> Matrix:
    determinant = _determinant(matrix)
    size = range(len(matrix))
    if len(matrix) == 1:
        return ((("/", _ONE, determinant),),)
    signed = (
        tuple(
            _folded(
                ("/", ("*", ("number", Fraction((-1) ** (i + j))), _determinant(_minor(matrix, j, i))), determinant)
            )
            for j in size
        )
        for i in size
    )
    return _bounded(tuple(signed))


def _is_scalar(value: Node | Matrix) -> bool:
    return isinstance(value[0], str)


def _folded(node: Node) -> Node:
    """Work out a formula of rational numbers, so that products stay small."""
    if has_names(node):
        return node
    key = node_key(node)
    return ("number", Fraction(key[1])) if key[0] == "q" else node


def _bounded(matrix: Matrix) -> Matrix:
    if sum(_num_nodes(cell) for row in matrix for cell in row) > MAX_NODES:
        raise Unreadable("a product of matrices that is too large")
    return matrix


def _num_nodes(node: Node) -> int:
    return 1 + sum(_num_nodes(part) for part in node[1:] if isinstance(part, tuple))
