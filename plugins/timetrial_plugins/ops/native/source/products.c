/* The product of a matrix with one row: every weight is read once, so it is as fast as memory. */
#include "vectors.h"

#define ROWS LANES /* of the matrix, read side by side: their sums are finished together */

/* Return the sums of x times ROWS rows of weights, `width` numbers long and as far apart. */
INLINE vector products_of(const float *x, const float *weights, int64_t width)
{
    vector partial[ROWS] = {{0}};
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) {
        vector part = load(x + d);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            partial[r] += part * load(weights + r * width + d);
    }
    for (; d < width; d++)
        for (int r = 0; r < ROWS; r++)
            partial[r][0] += x[d] * weights[r * width + d];
    return sums_of(partial);
}

/* Write the products of x (D,) with the rows of `weights` (E, D), (E,). */
void row_product(const float *x, const float *weights, float *out, int64_t outputs, int64_t width)
{
    int64_t blocks = outputs / ROWS;
#pragma omp parallel for schedule(static) if (outputs * width > WORTH_THREADS)
    for (int64_t block = 0; block < blocks; block++)
        store(out + block * ROWS, products_of(x, weights + block * ROWS * width, width));
    for (int64_t e = blocks * ROWS; e < outputs; e++) {
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t d = 0; d < width; d++)
            sum += x[d] * weights[e * width + d];
        out[e] = sum;
    }
}
