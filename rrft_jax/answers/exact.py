"""Exact values: sums of rational multiples of products of roots of primes, π, e, letters and units, to rational powers.

Two of them are equal exactly where their terms are, since products of different roots of primes are linearly
independent over the rationals (and π and e are taken to be): no simplification, no rounding. "2√3 cm" is the one term
2 · 3^(1/2) · cm; "(x+2)/7" the two terms 1/7 · x and 2/7.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from rrft_jax.answers.units import LETTERS, UNITS

Monomial = tuple[tuple[str, Fraction], ...]  # (base, exponent), by base; primes are their digits, exponents in (0, 1)

_HALF = Fraction(1, 2)
_MAX_BITS = 2000
_MAX_TERMS = 60
_MAX_ROOT = 64
_MAX_SUM_POWER = 12
_TRIAL_LIMIT = 5000
_CONSTANTS = {
    "pi": Decimal("3.14159265358979323846264338327950288419716939937510582097494459"),
    "e": Decimal("2.71828182845904523536028747135266249775724709369995957496696763"),
}
UNIT = "unit:"  # what the base of a unit of measure begins with
THING = "thing:"  # and that of a counted thing

_CLEAR_UNITS = frozenset(UNIT + unit for unit in UNITS.values() if unit not in LETTERS)  # which no variable is called


class NotExact(ArithmeticError):
    """A value that is no sum of such terms, such as 1/(1+x); algebra may still distinguish it from others."""


class Undefined(ArithmeticError):
    """No value at all (1/0), or one too large to be an answer."""


@dataclass(frozen=True)
class Exact:
    """terms: (monomial, coefficient), by monomial, no coefficient 0. Equal values have equal terms."""

    terms: tuple[tuple[Monomial, Fraction], ...] = ()

    def __add__(self, other: "Exact") -> "Exact":
        return _summed((*self.terms, *other.terms))

    def __neg__(self) -> "Exact":
        return Exact(tuple((monomial, -c) for monomial, c in self.terms))

    def __sub__(self, other: "Exact") -> "Exact":
        return self + -other

    def __mul__(self, other: "Exact") -> "Exact":
        if len(self.terms) * len(other.terms) > _MAX_TERMS**2:
            raise Undefined("too many terms")
        return _summed(_product(a, b) for a in self.terms for b in other.terms)

    def __truediv__(self, other: "Exact") -> "Exact":
        if not other.terms:
            raise Undefined("division by zero")
        if len(other.terms) > 1:
            quotient = self._ratio(other)
            if quotient is None:
                raise NotExact("division by a sum")
            return rational(quotient)
        ((monomial, c),) = other.terms
        inverse = _term({base: -exponent for base, exponent in monomial}, 1 / c)
        return self * _summed([inverse])

    def __pow__(self, exponent: Fraction) -> "Exact":
        if exponent.denominator == 1:
            return self._whole_power(int(exponent))
        if not self.terms and exponent > 0:
            return self
        if len(self.terms) != 1:
            raise NotExact("a root of a sum")
        return self._rational_power(exponent)

    def _whole_power(self, n: int) -> "Exact":
        if not self.terms:
            if n <= 0:
                raise Undefined("0 to the power of 0 or less")
            return self
        if len(self.terms) == 1:
            ((monomial, c),) = self.terms
            if max(c.numerator.bit_length(), c.denominator.bit_length()) * abs(n) > _MAX_BITS or abs(n) > _MAX_BITS:
                raise Undefined("a power too large")
            return _summed([_term({base: e * n for base, e in monomial}, c**n)])
        if abs(n) > _MAX_SUM_POWER:
            raise NotExact("a high power of a sum")
        if n < 0:
            raise NotExact("division by a sum")
        result = ONE
        for _ in range(n):
            result = result * self
        return result

    def _rational_power(self, exponent: Fraction) -> "Exact":
        ((monomial, c),) = self.terms
        if exponent.denominator > _MAX_ROOT or abs(exponent) > _MAX_ROOT:
            raise Undefined("a power too high")
        letters = [base for base, _ in monomial if not is_number(base)]
        if letters and not (c == 1 and monomial == ((letters[0], Fraction(1)),)):
            raise NotExact("a root of a product of letters: its sign is not known")
        sign = 1
        if c < 0:
            if exponent.denominator % 2 == 0:
                raise NotExact("an even root of a negative number")
            c, sign = -c, (-1 if exponent.numerator % 2 else 1)
        if max(c.numerator.bit_length(), c.denominator.bit_length()) * abs(exponent) > _MAX_BITS:
            raise Undefined("a power too large")
        powers = {base: e * exponent for base, e in monomial}
        for number, direction in ((c.numerator, 1), (c.denominator, -1)):
            for prime, times in _factors(number).items():
                powers[str(prime)] = powers.get(str(prime), Fraction(0)) + direction * times * exponent
        return _summed([_term(powers, Fraction(sign))])

    def _ratio(self, other: "Exact") -> Fraction | None:
        """The rational number r with self == r * other, if there is one."""
        if not self.terms:
            return Fraction(0)
        ratio = self.terms[0][1] / other.terms[0][1]
        return ratio if self == other * rational(ratio) else None

    @property
    def fraction(self) -> Fraction | None:
        """The value as a rational number, or None where it has roots, letters or units."""
        if not self.terms:
            return Fraction(0)
        monomial, c = self.terms[0]
        return c if len(self.terms) == 1 and not monomial else None

    def letters(self) -> set[str]:
        """All bases without a numeric value: letters, units, things."""
        return {base for monomial, _ in self.terms for base, _ in monomial if not is_number(base)}

    def measured_in(self) -> tuple[Monomial, "Exact"]:
        """(units and things that all terms share, the value without them); () where terms differ in them."""
        kinds = {_units(monomial) for monomial, _ in self.terms}
        if len(kinds) == 2 and self.letters() <= _CLEAR_UNITS:
            kinds.discard(())  # 12 - 3π cm²
        if len(kinds) != 1:
            return (), self
        units = kinds.pop()
        bare = ((tuple(p for p in monomial if not _is_unit(p[0])), c) for monomial, c in self.terms)
        return units, _summed(bare)

    def renamed(self, names: Mapping[str, str]) -> "Exact":
        """With other names for some letters or units."""
        return _summed(_term_of([(names.get(b, b), e) for b, e in monomial], c) for monomial, c in self.terms)

    def decimal(self) -> Decimal | None:
        """The value to 40 digits, or None where it has letters or units."""
        if self.letters():
            return None
        with localcontext(Context(prec=50)):
            total = Decimal(0)
            for monomial, c in self.terms:
                value = Decimal(c.numerator) / Decimal(c.denominator)
                for base, exponent in monomial:
                    number = _CONSTANTS[base] if base in _CONSTANTS else Decimal(base)
                    if exponent == _HALF:  # ten times as fast as the power
                        value *= number.sqrt()
                    elif exponent == 1:
                        value *= number
                    else:
                        value *= number ** (Decimal(exponent.numerator) / Decimal(exponent.denominator))
                total += value
            return +total


def rational(value: Fraction | int) -> Exact:
    """A rational number."""
    return Exact((((), Fraction(value)),)) if value else Exact()


def letter(name: str) -> Exact:
    """A variable, π ("pi"), e, or a unit or thing by its prefixed name."""
    return Exact(((((name, Fraction(1)),), Fraction(1)),))


ONE = rational(1)


def close(a: Exact, b: Exact) -> bool:
    """Whether two values are one number but for rounding: equal, or apart by less than half a unit of the sixth decimal
    (math-verify's precision) and, where b is below 0.1, by less than 5e-6 of it."""
    if a == b:
        return True
    p, q = a.fraction, b.fraction
    if p is not None and q is not None:
        return abs(p - q) < min(Fraction(1, 2_000_000), Fraction(1, 200_000) * abs(q))
    if _apart(a, b):
        return False
    x, y = a.decimal(), b.decimal()
    if x is None or y is None:
        return False
    with localcontext(Context(prec=50)):
        return abs(x - y) < min(Decimal("5e-7"), Decimal("5e-6") * abs(y))


def _apart(a: Exact, b: Exact) -> bool:
    """Whether floats, a hundred times as fast, tell two numbers apart beyond any doubt; False without knowing."""
    if a.letters() or b.letters():
        return False
    parts = []
    try:
        for sign, value in ((1, a), (-1, b)):
            for monomial, c in value.terms:
                parts.append(sign * float(c) * math.prod(float(_CONSTANTS.get(p, p)) ** float(e) for p, e in monomial))
    except OverflowError:
        return False
    return abs(sum(parts)) > 1e-6 + 1e-9 * sum(map(abs, parts))


def is_number(base: str) -> bool:
    """Whether a base has a numeric value: a prime, π or e."""
    return base in _CONSTANTS or base.isdecimal()


def _is_unit(base: str) -> bool:
    return base.startswith((UNIT, THING))


def _units(monomial: Monomial) -> Monomial:
    return tuple(p for p in monomial if _is_unit(p[0]))


def _summed(terms: Iterable[tuple[Monomial, Fraction]]) -> Exact:
    total: dict[Monomial, Fraction] = {}
    for monomial, c in terms:
        total[monomial] = total.get(monomial, Fraction(0)) + c
    kept = sorted((monomial, c) for monomial, c in total.items() if c)
    if len(kept) > _MAX_TERMS or any(max(c.numerator.bit_length(), c.denominator.bit_length()) > _MAX_BITS
                                     for _, c in kept):  # fmt: skip
        raise Undefined("a value too large")
    return Exact(tuple(kept))


def _product(a: tuple[Monomial, Fraction], b: tuple[Monomial, Fraction]) -> tuple[Monomial, Fraction]:
    return _term_of((*a[0], *b[0]), a[1] * b[1]) if a[0] and b[0] else (a[0] or b[0], a[1] * b[1])


def _term_of(powers: Iterable[tuple[str, Fraction]], c: Fraction) -> tuple[Monomial, Fraction]:
    total: dict[str, Fraction] = {}
    for base, exponent in powers:
        total[base] = total.get(base, Fraction(0)) + exponent
    return _term(total, c)


def _term(powers: Mapping[str, Fraction], c: Fraction) -> tuple[Monomial, Fraction]:
    kept = []
    for base, exponent in sorted(powers.items()):
        if base.isdecimal():
            whole = math.floor(exponent)
            if abs(whole) * int(base).bit_length() > _MAX_BITS:
                raise Undefined("a power too large")
            c *= Fraction(int(base)) ** whole
            exponent -= whole
        elif abs(exponent) > 10**6:
            raise Undefined("a power too high")
        if exponent:
            kept.append((base, exponent))
    return tuple(kept), c


def _factors(number: int) -> dict[int, int]:
    """The prime factors of a positive number. NotExact for one with two large ones."""
    found: dict[int, int] = {}
    divisor = 2
    while divisor * divisor <= number and divisor < _TRIAL_LIMIT:
        while number % divisor == 0:
            found[divisor] = found.get(divisor, 0) + 1
            number //= divisor
        divisor += 1 if divisor == 2 else 2
    if number >= _TRIAL_LIMIT**2:
        root = math.isqrt(number)
        if root * root == number and root < _TRIAL_LIMIT**2:
            found[root] = found.get(root, 0) + 2
            return found
        raise NotExact("a root of a number with large factors")
    if number > 1:
        found[number] = found.get(number, 0) + 1
    return found
