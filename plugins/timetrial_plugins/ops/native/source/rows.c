/* What is done to every row by itself: norms, gated products, and rotary positions.
 *
 * Shapes: B rows, D model width, F MLP width, H query heads, G key/value heads, P channels per head.
 */
#include "arithmetic.h"

/* Add `added` (B, D), if any, to `hidden` (B, D), and write its RMSNorm. With `scales_first` the weight is multiplied
 * before the norm is rounded. */
void add_norm(real *hidden, int64_t hidden_row, const real *added, int64_t added_row, const real *weight,
              float epsilon, int64_t scales_first, real *out, int64_t out_row, int64_t rows, int64_t width)
{
#pragma omp parallel for schedule(static) if (rows * width > WORTH_THREADS)
    for (int64_t row = 0; row < rows; row++) {
        real *h = hidden + row * hidden_row, *o = out + row * out_row;
        float sum = 0.0f;
        if (added) {
            const real *a = added + row * added_row;
#pragma omp simd
            for (int64_t d = 0; d < width; d++)
                h[d] = narrow(wide(h[d]) + wide(a[d]));
        }
#pragma omp simd reduction(+ : sum)
        for (int64_t d = 0; d < width; d++)
            sum += wide(h[d]) * wide(h[d]);
        float scale = 1.0f / sqrtf(sum / width + epsilon);
        if (scales_first) {
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

/* Write silu(gate) * up, (B, F), of both side by side, (B, 2 F). */
void gated_product(const real *both, int64_t both_row, real *out, int64_t out_row, int64_t rows, int64_t width)
{
#pragma omp parallel for schedule(static) if (rows * width > WORTH_THREADS)
    for (int64_t row = 0; row < rows; row++) {
        const real *gate = both + row * both_row, *up = gate + width;
        real *o = out + row * out_row;
#pragma omp simd
        for (int64_t f = 0; f < width; f++)
            o[f] = narrow(rounded(silu(wide(gate[f]))) * wide(up[f]));
    }
}

/* Turn the first H + G heads of `heads` (B, H + 2 G, P) in place, and store keys and values in their rows' slots. */
void rotate_and_store(real *heads, int64_t heads_row, const float *cos, const float *sin, const int64_t *positions,
                      const int64_t *slots, real *keys, real *values, int64_t own_row, int64_t own_head,
                      int64_t rows, int64_t queries, int64_t groups, int64_t width)
{
    int64_t half = width / 2;
#pragma omp parallel for schedule(static) if (rows * (queries + groups) * width > WORTH_THREADS)
    for (int64_t row = 0; row < rows; row++) {
        const float *c = cos + positions[row] * half, *s = sin + positions[row] * half;
        for (int64_t head = 0; head < queries + groups; head++) {
            real *first = heads + row * heads_row + head * width, *second = first + half;
#pragma omp simd
            for (int64_t p = 0; p < half; p++) {
                float a = wide(first[p]), b = wide(second[p]);
                first[p] = narrow(a * c[p] - b * s[p]);
                second[p] = narrow(b * c[p] + a * s[p]);
            }
        }
        for (int64_t group = 0; group < groups; group++) {
            const real *key = heads + row * heads_row + (queries + group) * width, *value = key + groups * width;
            int64_t place = row * own_row + group * own_head + slots[row] * width;
            memcpy(keys + place, key, width * sizeof(real));
            memcpy(values + place, value, width * sizeof(real));
        }
    }
}
