"""Evaluate the sums, products, integrals and limits of a formula, and check the outcome by numbers. For workers only.

sympy's algorithms for them are the ones that can be wrong (a branch of an antiderivative, say), so their outcome counts
only where numbers confirm it. A short sum or product is added or multiplied term by term; a long sum is evaluated by a
formula for any length, which short lengths confirm.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from timetrial_plugins.grading.as_sympy import UNFINISHED, Expression, NoForm

MAX_TERMS = 1_000
"""That are added or multiplied one by one."""
SHORT = 20
"""Terms of a long sum that its formula is confirmed by."""
TOLERANCE = 1e-6
"""Relative, or absolute below one, of the numerical value of a sum, product or integral."""
LIMIT_TOLERANCE = 1e-3
LIMIT_DISTANCE = sympy.Float("1e-12", 60)
"""How far from its target a limit is looked at."""
_NO_VALUE = (sympy.oo, -sympy.oo, sympy.zoo, sympy.nan, sympy.AccumBounds, sympy.Piecewise)


def closed_form(expression: Expression) -> Expression:
    """Return a formula without sums, products, integrals and limits.

    Raises:
        NoForm: there is none, it is infinite or too long to find, or numbers do not confirm it.
    """
    if not expression.has(*UNFINISHED):
        return expression
    if not isinstance(expression, UNFINISHED):
        return expression.func(*map(closed_form, expression.args))
    body, *others = expression.args
    if not isinstance(expression, sympy.Limit) and len(others) > 1:  # sympy makes one sum of a sum of sums
        body, others = expression.func(body, *others[:-1]), others[-1:]
    part = expression.func(closed_form(body), *others)
    value = _finite(part) if isinstance(part, (sympy.Sum, sympy.Product)) else None
    return _confirmed(part) if value is None else value


def _finite(part: Expression) -> Expression | None:
    """Return the value of a sum or product from one number to another; None if its ends are no numbers.

    Raises:
        NoForm: it is too long.
    """
    symbol, low, high = part.limits[0]
    length = high - low + 1
    if not length.is_Integer:
        return None
    if 0 <= length <= MAX_TERMS:
        return _term_by_term(part, int(length))
    if length < 0 or isinstance(part, sympy.Product):
        raise NoForm(f"{_kind(part)} of {length} terms")
    end = sympy.Symbol("end", integer=True, positive=True)
    formula = _evaluated(sympy.Sum(part.function, (symbol, low, end)))
    short = _term_by_term(part, SHORT)
    if not _are_close(_number(formula, {end: low + SHORT - 1}), _number(short, {}), TOLERANCE):
        raise NoForm("a sum whose formula was not confirmed by numbers")
    return formula.subs(end, high)


def _term_by_term(part: Expression, length: int) -> Expression:
    symbol, low, _ = part.limits[0]
    join = sympy.Add if isinstance(part, sympy.Sum) else sympy.Mul
    return join(*(part.function.subs(symbol, low + index) for index in range(length)))


def _confirmed(part: Expression) -> Expression:
    value = _evaluated(part)
    if not _is_confirmed(part, value):
        raise NoForm(f"{_kind(part)} whose closed form was not confirmed by numbers")
    return value


def _evaluated(part: Expression) -> Expression:
    try:
        value = part.doit()
    except (ValueError, NotImplementedError, TypeError) as error:  # a limit that depends on the side, for one
        raise NoForm(f"{_kind(part)} that could not be evaluated") from error
    if value.has(*UNFINISHED, *_NO_VALUE):
        raise NoForm(f"{_kind(part)} without a value, or without a closed form")
    return value


def _kind(part: Expression) -> str:
    return f"a {type(part).__name__.lower()}".replace("a integral", "an integral")


def _is_confirmed(part: Expression, value: Expression) -> bool:
    """Whether numbers agree with a closed form, at one point if there are names."""
    names = sorted(part.free_symbols | value.free_symbols, key=str)
    at = {name: sympy.Integer(5 + 2 * index) for index, name in enumerate(names)}
    number = _number(value, at)
    if not isinstance(part, sympy.Limit):
        return _are_close(_number(part, at), number, TOLERANCE)
    body, symbol, target, side = part.args
    if target.is_infinite:
        places = [1 / LIMIT_DISTANCE if target is sympy.oo else -1 / LIMIT_DISTANCE]
    else:
        signs = {"+": (1,), "-": (-1,)}.get(str(side), (1, -1))
        places = [target + sign * LIMIT_DISTANCE for sign in signs]
    return all(_are_close(_number(body, {**at, symbol: place}), number, LIMIT_TOLERANCE) for place in places)


def _number(expression: Expression, at: Mapping[Expression, Expression]) -> Expression | None:
    """Return the numerical value of a formula; None if it has none."""
    try:
        value = expression.subs(at).evalf(20)
        parts = value.as_real_imag()
    except (TypeError, ValueError, ArithmeticError, NotImplementedError, AttributeError):
        return None
    return value if all(part.is_Number and part.is_finite for part in parts) else None


def _are_close(one: Expression | None, other: Expression | None, tolerance: float) -> bool:
    if one is None or other is None:
        return False
    return bool(sympy.Abs(one - other) <= tolerance * sympy.Max(1, sympy.Abs(other)))
