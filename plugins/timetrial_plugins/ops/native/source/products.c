/* The product of a matrix with few rows: every weight is fetched once, so it is as fast as memory.
 *
 * Shapes: B rows, D input width, E outputs.
 */
#include "vectors.h"

#define OUTPUTS LANES /* that are worked out together: their sums are finished in one */

/* Write the sums of `rows` rows of x, one or two, times OUTPUTS rows of weights, `width` numbers long and as far apart. */
INLINE void products_of(const float *x, int64_t x_row, const float *weights, int64_t width, float *out, int64_t out_row,
                        const int rows)
{
    vector partial[2][OUTPUTS] = {{{0}}};
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) {
#pragma GCC unroll 8
        for (int e = 0; e < OUTPUTS; e++) {
            vector weight = load(weights + e * width + d);
#pragma GCC unroll 2
            for (int row = 0; row < rows; row++)
                partial[row][e] += load(x + row * x_row + d) * weight;
        }
    }
    for (; d < width; d++)
        for (int e = 0; e < OUTPUTS; e++)
            for (int row = 0; row < rows; row++)
                partial[row][e][0] += x[row * x_row + d] * weights[e * width + d];
    for (int row = 0; row < rows; row++)
        store(out + row * out_row, sums_of(partial[row]));
}

/* Write the products (B, E) of x (B, D) with the rows of `weights` (E, D); a core's own cache keeps what rows share. */
void row_product(const float *x, int64_t x_row, const float *weights, float *out, int64_t out_row, int64_t rows,
                 int64_t outputs, int64_t width)
{
    int64_t blocks = outputs / OUTPUTS;
#pragma omp parallel for schedule(static) if (outputs * width > WORTH_THREADS)
    for (int64_t block = 0; block < blocks; block++) {
        const float *its = weights + block * OUTPUTS * width;
        float *to = out + block * OUTPUTS;
        int64_t row = 0;
        for (; row + 2 <= rows; row += 2)
            products_of(x + row * x_row, x_row, its, width, to + row * out_row, out_row, 2);
        if (row < rows)
            products_of(x + row * x_row, x_row, its, width, to + row * out_row, out_row, 1);
    }
    for (int64_t row = 0; row < rows; row++)
        for (int64_t e = blocks * OUTPUTS; e < outputs; e++) {
            float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
            for (int64_t d = 0; d < width; d++)
                sum += x[row * x_row + d] * weights[e * width + d];
            out[row * out_row + e] = sum;
        }
}
