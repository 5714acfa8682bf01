/* What is done to every row by itself: norms, gated products, and rotary positions.
 *
 * Shapes: B rows, D model width, F MLP width, H query heads, G key/value heads, P channels per head.
 */
#include "arithmetic.h"

/* Add `added` (B, D), if any, to `hidden` (B, D), and write its RMSNorm; rows of both outputs are contiguous. */
void add_norm(float *hidden, int64_t hidden_row, const float *added, int64_t added_row, const float *weight,
              float epsilon, float *out, int64_t out_row, int64_t rows, int64_t width)
{
#pragma omp parallel for schedule(static) if (rows * width > WORTH_THREADS)
    for (int64_t row = 0; row < rows; row++) {
        float *h = hidden + row * hidden_row, *o = out + row * out_row;
        float sum = 0.0f;
        if (added) {
            const float *a = added + row * added_row;
#pragma omp simd reduction(+ : sum)
            for (int64_t d = 0; d < width; d++) {
                h[d] += a[d];
                sum += h[d] * h[d];
            }
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t d = 0; d < width; d++)
                sum += h[d] * h[d];
        }
        float scale = 1.0f / sqrtf(sum / width + epsilon);
#pragma omp simd
        for (int64_t d = 0; d < width; d++)
            o[d] = h[d] * scale * weight[d];
    }
}

/* Write silu(gate) * up, (B, F), of both side by side, (B, 2 F). */
void gated_product(const float *both, int64_t both_row, float *out, int64_t out_row, int64_t rows, int64_t width)
{
#pragma omp parallel for schedule(static) if (rows * width > WORTH_THREADS)
    for (int64_t row = 0; row < rows; row++) {
        const float *gate = both + row * both_row, *up = gate + width;
        float *o = out + row * out_row;
#pragma omp simd
        for (int64_t f = 0; f < width; f++)
            o[f] = silu(gate[f]) * up[f];
    }
}

/* Turn the first H + G heads of `heads` (B, H + 2 G, P) in place, and store keys and values in their rows' slots. */
void rotate_and_store(float *heads, int64_t heads_row, const float *cos, const float *sin, const int64_t *positions,
                      const int64_t *slots, float *keys, float *values, int64_t own_row, int64_t own_head,
                      int64_t rows, int64_t queries, int64_t groups, int64_t width)
{
    int64_t half = width / 2;
#pragma omp parallel for schedule(static) if (rows * (queries + groups) * width > WORTH_THREADS)
    for (int64_t row = 0; row < rows; row++) {
        const float *c = cos + positions[row] * half, *s = sin + positions[row] * half;
        for (int64_t head = 0; head < queries + groups; head++) {
            float *first = heads + row * heads_row + head * width, *second = first + half;
#pragma omp simd
            for (int64_t p = 0; p < half; p++) {
                float a = first[p], b = second[p];
                first[p] = a * c[p] - b * s[p];
                second[p] = b * c[p] + a * s[p];
            }
        }
        for (int64_t group = 0; group < groups; group++) {
            const float *key = heads + row * heads_row + (queries + group) * width, *value = key + groups * width;
            int64_t place = row * own_row + group * own_head + slots[row] * width;
            memcpy(keys + place, key, width * sizeof(float));
            memcpy(values + place, value, width * sizeof(float));
        }
    }
}
