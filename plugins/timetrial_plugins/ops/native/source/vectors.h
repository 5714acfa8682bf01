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

#ifdef __AVX__
#define larger __builtin_ia32_maxps256 /* which GCC does not make of what stands below */
#else
INLINE vector larger(vector a, vector b)
{
    integers is_larger = a > b;
    return (vector)(((integers)a & is_larger) | ((integers)b & ~is_larger));
}
#endif

/* Return the sums of eight vectors, in three rounds that each add halves of two of them. What stays in its lane is
 * blended, which processors do in more places than they move numbers between lanes. */
INLINE vector sums_of(const vector x[LANES])
{
    vector two[4], four[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        vector a = x[2 * i], b = x[2 * i + 1], crossed = SHUFFLED(a, b, 8, 1, 10, 3, 12, 5, 14, 7);
        two[i] = SHUFFLED(a, b, 0, 9, 2, 11, 4, 13, 6, 15) + SHUFFLED(crossed, crossed, 1, 0, 3, 2, 5, 4, 7, 6);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        vector a = two[2 * i], b = two[2 * i + 1];
        four[i] = SHUFFLED(a, b, 0, 1, 10, 11, 4, 5, 14, 15) + SHUFFLED(a, b, 2, 3, 8, 9, 6, 7, 12, 13);
    }
    return SHUFFLED(four[0], four[1], 0, 1, 2, 3, 12, 13, 14, 15) +
           SHUFFLED(four[0], four[1], 4, 5, 6, 7, 8, 9, 10, 11);
}

INLINE float sum_of(vector x)
{
    x += SHUFFLED(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
    x += SHUFFLED(x, x, 2, 3, 0, 1, 6, 7, 4, 5);
    return x[0] + x[1];
}

/* Return the largest lane of each of four vectors, twice. */
INLINE vector largest_of_four(const vector x[4])
{
    vector two[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        vector a = x[2 * i], b = x[2 * i + 1];
        two[i] = larger(SHUFFLED(a, b, 0, 8, 2, 10, 4, 12, 6, 14), SHUFFLED(a, b, 1, 9, 3, 11, 5, 13, 7, 15));
    }
    vector four = larger(SHUFFLED(two[0], two[1], 0, 1, 8, 9, 4, 5, 12, 13),
                         SHUFFLED(two[0], two[1], 2, 3, 10, 11, 6, 7, 14, 15));
    return larger(four, SHUFFLED(four, four, 4, 5, 6, 7, 0, 1, 2, 3));
}

/* Leave a vector in its register: GCC would read it anew for every use, and there are more multipliers than readers. */
#ifdef __AVX__
#define HELD(x) asm("" : "+v"(x))
#else
#define HELD(x) (void)(x)
#endif

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
