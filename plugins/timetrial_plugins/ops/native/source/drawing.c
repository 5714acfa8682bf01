/* The next token of every row: temperature and inverse distribution function, or greedy.
 *
 * Sums are double, exponentials float, as engine.sampler has them, but not divided by their sum: a token differs from
 * the sampler's where the random number lies within about 1e-6 of the border between two. Random numbers are equal to
 * the bit.
 */
#include "arithmetic.h"

#define TILE 256 /* tokens that are summed up together */

/* Return the number in [0, 1) that a stream gives at its position: SplitMix64, see engine.sampler. */
INLINE double uniform(uint64_t stream, uint64_t position)
{
    uint64_t state = stream + (position + 1) * 0x9E3779B97F4A7C15u;
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9u;
    state = (state ^ (state >> 27)) * 0x94D049BB133111EBu;
    return (double)((state ^ (state >> 31)) >> 11) * 0x1p-53;
}

INLINE float largest_of(const float *logits, int64_t count)
{
    float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
    for (int64_t v = 0; v < count; v++)
        largest = logits[v] > largest ? logits[v] : largest;
    return largest;
}

/* Return the first of the likeliest tokens; -1 where logits are not numbers. */
static int64_t likeliest(const float *logits, int64_t count)
{
    float largest = largest_of(logits, count), wrong = 0.0f;
#pragma omp simd reduction(+ : wrong)
    for (int64_t v = 0; v < count; v++)
        wrong += logits[v] == logits[v] ? 0.0f : 1.0f;
    if (wrong > 0.0f || !isfinite(largest))
        return -1;
    int64_t token = 0;
    while (logits[token] != largest)
        token++;
    return token;
}

/* Return the token in which the cumulative sum passes u times the total; `weights` (V,) and `sums` are room. */
static int64_t drawn(const float *logits, int64_t count, float temperature, double u, float *weights, double *sums)
{
    float largest = largest_of(logits, count) / temperature;
    double total = 0.0;
    for (int64_t first = 0; first < count; first += TILE) {
        int64_t end = first + TILE < count ? first + TILE : count;
        double sum = 0.0;
#pragma omp simd
        for (int64_t v = first; v < end; v++)
            weights[v] = exp_of(logits[v] / temperature - largest);
#pragma omp simd reduction(+ : sum)
        for (int64_t v = first; v < end; v++)
            sum += (double)weights[v];
        sums[first / TILE] = sum;
        total += sum;
    }
    if (!isfinite(total) || !isfinite(largest))
        return -1;
    double target = u * total, passed = 0.0;
    int64_t tile = 0, last = 0;
    while ((tile + 1) * TILE < count && passed + sums[tile] <= target)
        passed += sums[tile++];
    for (int64_t v = tile * TILE; v < count; v++) {
        passed += (double)weights[v];
        if (weights[v] > 0.0f)
            last = v;
        if (passed > target)
            return v;
    }
    return last; /* rounding left the target past the end */
}

struct draw {
    const float *logits; /* (B, V) */
    int64_t logits_row;
    const int64_t *streams, *positions; /* (B,) */
    double temperature;                 /* 0 is greedy */
    float *weights;                     /* (B, V), room to work in */
    double *sums;                       /* (B, V / 256 rounded up), room to work in */
    int64_t *tokens;                    /* (B,) */
    int64_t vocabulary;
};

void draw(const void *arguments, int64_t rows)
{
    const struct draw at = *(const struct draw *)arguments;
    int64_t tiles = (at.vocabulary + TILE - 1) / TILE;
    float temperature = (float)at.temperature;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const float *logits = at.logits + row * at.logits_row;
        double u = uniform((uint64_t)at.streams[row], (uint64_t)at.positions[row]);
        at.tokens[row] = temperature > 0.0f ? drawn(logits, at.vocabulary, temperature, u,
                                                    at.weights + row * at.vocabulary, at.sums + row * tiles)
                                            : likeliest(logits, at.vocabulary);
    }
}
