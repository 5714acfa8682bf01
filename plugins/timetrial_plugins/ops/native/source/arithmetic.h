/* Functions of one number that a compiler can turn into vector instructions, and what all kernels share.
 *
 * Weights, activations, keys, values and windows are `real`: float, or bfloat16 where BFLOAT16 is defined. Arithmetic,
 * states and logits are float; results are rounded to `real` where the models round.
 *
 * exp is 2^n times a polynomial in what is left: within two units of the last place, 0 below e^-87, no infinity above
 * e^88, and not a number of what is none. Sums are only reordered where a loop says so (omp simd reduction).
 */
#ifndef TIMETRIAL_ARITHMETIC_H
#define TIMETRIAL_ARITHMETIC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#ifdef BFLOAT16

typedef uint16_t real; /* the upper half of a float */

INLINE float wide(real x)
{
    uint32_t bits = (uint32_t)x << 16;
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Round to nearest, to even where two are as near; what is not a number stays none. */
INLINE real narrow(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, cut = (bits >> 16) | 0x40;
    return (real)((bits & 0x7FFFFFFF) > 0x7F800000 ? cut : rounded);
}

#else

typedef float real;

INLINE float wide(real x) { return x; }

INLINE real narrow(float x) { return x; }

#endif

INLINE float rounded(float x) { return wide(narrow(x)); }

/* exp of a number, or of a vector of them, from -log(2) / 2 to log(2) / 2; coefficients: Cephes, expf. */
#define EXP_POLYNOMIAL(r)                                                                                              \
    (((((((1.9875691500e-4f * (r) + 1.3981999507e-3f) * (r) + 8.3334519073e-3f) * (r) + 4.1665795894e-2f) * (r) +      \
        1.6666665459e-1f) * (r) + 5.0000001201e-1f) * (r)) * (r) + (r) + 1.0f)

INLINE float exp_of(float x)
{
    float held = x > 88.0f ? 88.0f : x;
    held = held < -88.0f ? -88.0f : held; /* n is then -127, and 2^n 0 */
    float n = rintf(held * 1.44269504f);
    float r = (held - n * 0.693359375f) + n * 2.12194440e-4f; /* log 2 in two parts, so that no digit is lost */
    float p = EXP_POLYNOMIAL(r);
    int32_t bits = (int32_t)((uint32_t)((int32_t)n + 127) << 23);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp_of(-x)); }

INLINE float silu(float x) { return x * sigmoid(x); }

/* log(1 + exp(x)) = max(x, 0) + log1p(u), u = exp(-|x|) <= 1; log1p(u) = 2 artanh(u / (2 + u)), by its series. */
INLINE float softplus(float x)
{
    float u = exp_of(x > 0.0f ? -x : x), s = u / (2.0f + u), q = s * s;
    float series = 1.0f / 15.0f;
    series = series * q + 1.0f / 13.0f;
    series = series * q + 1.0f / 11.0f;
    series = series * q + 1.0f / 9.0f;
    series = series * q + 1.0f / 7.0f;
    series = series * q + 1.0f / 5.0f;
    series = series * q + 1.0f / 3.0f;
    series = series * q + 1.0f;
    return (x > 0.0f ? x : 0.0f) + 2.0f * s * series;
}

#endif
