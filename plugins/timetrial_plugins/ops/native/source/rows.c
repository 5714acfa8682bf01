/* What is done to every row by itself: embeddings, norms, gated products, rotary positions, and counts.
 *
 * Shapes: B rows, D model width, F MLP width, H query heads, G key/value heads, P channels per head.
 */
#include "arithmetic.h"

struct embed {
    const int64_t *tokens; /* (B,), below 0 where there is none: what is read then does not matter */
    const real *table;     /* (V, D) */
    real *out;             /* (B, D) */
    int64_t out_row, width;
};

/* Write the embeddings of tokens. */
void embed(const void *arguments, int64_t rows)
{
    const struct embed at = *(const struct embed *)arguments;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        int64_t token = at.tokens[row] < 0 ? 0 : at.tokens[row];
        memcpy(at.out + row * at.out_row, at.table + token * at.width, at.width * sizeof(real));
    }
}

struct add_norm {
    real *hidden; /* (B, D) */
    int64_t hidden_row;
    const real *added; /* (B, D) or NULL */
    int64_t added_row;
    const real *weight; /* (D,) */
    double epsilon;
    int64_t scales_first; /* whether the weight is multiplied before the norm is rounded */
    real *out;            /* (B, D) */
    int64_t out_row, width;
};

/* Add to a residual, and write its RMSNorm. */
void add_norm(const void *arguments, int64_t rows)
{
    const struct add_norm at = *(const struct add_norm *)arguments;
    const real *weight = at.weight;
    int64_t width = at.width;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        real *h = at.hidden + row * at.hidden_row, *o = at.out + row * at.out_row;
        float sum = 0.0f;
        if (at.added) {
            const real *a = at.added + row * at.added_row;
#pragma omp simd
            for (int64_t d = 0; d < width; d++)
                h[d] = narrow(wide(h[d]) + wide(a[d]));
        }
#pragma omp simd reduction(+ : sum)
        for (int64_t d = 0; d < width; d++)
            sum += wide(h[d]) * wide(h[d]);
        float scale = 1.0f / sqrtf(sum / width + (float)at.epsilon);
        if (at.scales_first) {
#pragma omp simd
            for (int64_t d = 0; d < width; d++)
                o[d] = narrow(wide(h[d]) * scale * wide(weight[d]));
        } else {
#pragma omp simd
            for (int64_t d = 0; d < width; d++)
                o[d] = narrow(rounded(wide(h[d]) * scale) * wide(weight[d]));
        }
    }
}

struct gated_product {
    const real *both; /* (B, 2 F): the gate and what it lets through, side by side */
    int64_t both_row;
    real *out; /* (B, F) */
    int64_t out_row, width;
};

/* Write silu(gate) * up. */
void gated_product(const void *arguments, int64_t rows)
{
    const struct gated_product at = *(const struct gated_product *)arguments;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const real *gate = at.both + row * at.both_row, *up = gate + at.width;
        real *o = at.out + row * at.out_row;
#pragma omp simd
        for (int64_t f = 0; f < at.width; f++)
            o[f] = narrow(rounded(silu(wide(gate[f]))) * wide(up[f]));
    }
}

struct rotate_and_store {
    real *heads; /* (B, H + 2 G, P) */
    int64_t heads_row;
    const float *cos, *sin; /* (positions, P / 2) */
    const int64_t *positions, *slots; /* (B,) */
    real *keys, *values;              /* (B, G, S, P) */
    int64_t own_row, own_head;
    int64_t queries, groups, width;
};

/* Turn the first H + G heads in place, and store keys and values in their rows' slots. */
void rotate_and_store(const void *arguments, int64_t rows)
{
    const struct rotate_and_store at = *(const struct rotate_and_store *)arguments;
    int64_t width = at.width, half = width / 2;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const float *c = at.cos + at.positions[row] * half, *s = at.sin + at.positions[row] * half;
        real *heads = at.heads + row * at.heads_row;
        for (int64_t head = 0; head < at.queries + at.groups; head++) {
            real *first = heads + head * width, *second = first + half;
#pragma omp simd
            for (int64_t p = 0; p < half; p++) {
                float a = wide(first[p]), b = wide(second[p]);
                first[p] = narrow(a * c[p] - b * s[p]);
                second[p] = narrow(b * c[p] + a * s[p]);
            }
        }
        for (int64_t group = 0; group < at.groups; group++) {
            const real *key = heads + (at.queries + group) * width, *value = key + at.groups * width;
            int64_t place = row * at.own_row + group * at.own_head + at.slots[row] * width;
            memcpy(at.keys + place, key, width * sizeof(real));
            memcpy(at.values + place, value, width * sizeof(real));
        }
    }
}

struct count {
    int64_t *counters; /* (counters, B) */
    int64_t apart;     /* numbers from one counter to the next */
    const int64_t *active; /* (B,) 1 for rows in use, 0 for others */
    int64_t counters_of_row;
};

/* Count what rows in use have done. */
void count(const void *arguments, int64_t rows)
{
    const struct count at = *(const struct count *)arguments;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t counter = 0; counter < at.counters_of_row; counter++)
            at.counters[counter * at.apart + row] += at.active[row];
}
