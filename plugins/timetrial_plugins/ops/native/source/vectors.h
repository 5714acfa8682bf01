/* Vectors of eight numbers, in the language that GCC and Clang share, for loops that they do not turn into vectors. */
#ifndef TIMETRIAL_VECTORS_H
#define TIMETRIAL_VECTORS_H

#include "arithmetic.h"

#define LANES 8

/* Lanes of two vectors by number, the second one's counted from 8. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (integers){__VA_ARGS__})
#endif

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t integers __attribute__((vector_size(LANES * sizeof(int32_t))));

INLINE vector load(const float *from)
{
    vector loaded;
    memcpy(&loaded, from, sizeof loaded);
    return loaded;
}

INLINE void store(float *to, vector x) { memcpy(to, &x, sizeof x); }

INLINE vector all(float x) { return (vector){x, x, x, x, x, x, x, x}; }

INLINE vector larger(vector a, vector b)
{
    integers is_larger = a > b;
    return (vector)(((integers)a & is_larger) | ((integers)b & ~is_larger));
}

/* Return the sums of eight vectors, in three rounds that each add halves of two of them. */
INLINE vector sums_of(const vector x[LANES])
{
    vector two[4], four[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        two[i] = SHUFFLED(x[2 * i], x[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13) +
                 SHUFFLED(x[2 * i], x[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++)
        four[i] = SHUFFLED(two[2 * i], two[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) +
                  SHUFFLED(two[2 * i], two[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    return SHUFFLED(four[0], four[1], 0, 1, 2, 3, 8, 9, 10, 11) +
           SHUFFLED(four[0], four[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

INLINE float sum_of(vector x)
{
    float sum = 0.0f;
    for (int i = 0; i < LANES; i++)
        sum += x[i];
    return sum;
}

INLINE float largest_of(vector x)
{
    float largest = x[0];
    for (int i = 1; i < LANES; i++)
        largest = x[i] > largest ? x[i] : largest;
    return largest;
}

/* exp_of of numbers that are not positive. */
INLINE vector exp_of_all(vector x)
{
    vector held = larger(x, all(-88.0f));
    vector shifted = held * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: what is left of the point are the last bits */
    vector n = shifted - 12582912.0f;
    vector r = (held - n * 0.693359375f) + n * 2.12194440e-4f;
    return EXP_POLYNOMIAL(r) * (vector)(((integers)shifted - 0x4B400000 + 127) << 23);
}

#endif
