/* Products of rows with a matrix whose weights are laid out in panels.
 *
 * A panel has the weights of PANEL outputs, and in it those of one input lie side by side: (D, PANEL); in bfloat16 those
 * of two inputs are pairs: (D / 2, PANEL, 2). What the last panel and pair have too many are zeros. The sums of a block
 * of rows and a panel are kept in registers, and a panel in a core's own cache until a chunk of rows has met it.
 * Shapes: B rows, D input width, E outputs.
 */
#include "arithmetic.h"

#if defined(__AVX512F__)
#define LANES 16
#define BLOCK 8
#elif defined(__AVX2__)
#define LANES 8
#define BLOCK 6 /* twelve sums, two vectors of weights and a factor fill the registers */
#else
#define LANES 4
#define BLOCK 8
#endif
#define VECTORS 2
#define PANEL (VECTORS * LANES)
#define CHUNK 4 /* blocks of rows that a thread multiplies by a panel, one after the other */
#define CACHED (1 << 21) /* bytes: a larger matrix is one of many that no cache holds together */

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

#ifdef BFLOAT16

#define INPUTS 2 /* that are multiplied together */

typedef uint32_t factor; /* the numbers of two inputs */
typedef uint32_t weights __attribute__((vector_size(LANES * sizeof(uint32_t))));

INLINE factor factor_of(const real *x, const int count)
{
    return count == 1 ? x[0] : (uint32_t)x[0] | (uint32_t)x[1] << 16;
}

#ifdef __AVX512BF16__

#include <immintrin.h>

INLINE vector with_products(vector sums, factor x, weights w)
{
    return (vector)_mm512_dpbf16_ps((__m512)sums, (__m512bh)_mm512_set1_epi32((int)x), (__m512bh)w);
}

#else

INLINE vector with_products(vector sums, factor x, weights w)
{
    return sums + wide((real)x) * (vector)(w << 16) + wide((real)(x >> 16)) * (vector)(w & 0xFFFF0000u);
}

#endif

#else

#define INPUTS 1

typedef float factor;
typedef vector weights;

INLINE factor factor_of(const real *x, const int count)
{
    (void)count;
    return x[0];
}

INLINE vector with_products(vector sums, factor x, weights w) { return sums + x * w; }

#endif

struct product {
    const real *x; /* (B, D) */
    int64_t x_row;
    const real *panels; /* (panels, D, PANEL) */
    const real *added;  /* (E,) or (B, E), what sums begin with, or NULL */
    int64_t added_row;  /* 0: the same for all rows */
    void *out;          /* (B, E) */
    int64_t out_row;
    int64_t is_wide; /* whether `out` is of floats, though weights may not be */
    int64_t outputs, inputs;
};

int64_t panel_outputs(void) { return PANEL; }

/* Add the products of `count` inputs of each row, INPUTS or fewer; have `next` weights brought near. */
INLINE void add_products(const real *x, int64_t x_row, const real *panel, const real *next,
                         vector sums[BLOCK][VECTORS], const int rows, const int count)
{
    weights w[VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < VECTORS; i++) /* one by one, as below: arrays that are copied whole stay in memory */
        memcpy(&w[i], panel + i * LANES * INPUTS, sizeof w[i]);
    if (next)
#pragma GCC unroll 8
        for (int64_t i = 0; i < PANEL * INPUTS; i += 64 / (int64_t)sizeof(real))
            __builtin_prefetch(next + i, 0, 2);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        factor f = factor_of(x + r * x_row, count);
#pragma GCC unroll 8
        for (int i = 0; i < VECTORS; i++)
            sums[r][i] = with_products(sums[r][i], f, w[i]);
    }
}

/* Weights that are wanted soon: of `inputs` inputs of the next panel. */
struct soon {
    const real *weights;
    int64_t inputs;
};

/* Add the products of a block of rows, a number known when compiled, and a panel. */
INLINE void multiply(const real *x, int64_t x_row, const real *panel, int64_t inputs, struct soon soon,
                     float totals[BLOCK][PANEL], const int rows)
{
    vector sums[BLOCK][VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int i = 0; i < VECTORS; i++)
            memcpy(&sums[r][i], &totals[r][i * LANES], sizeof sums[r][i]);
    int64_t d = 0;
    for (; d + INPUTS <= soon.inputs; d += INPUTS)
        add_products(x + d, x_row, panel + d * PANEL, soon.weights + d * PANEL, sums, rows, INPUTS);
    for (; d + INPUTS <= inputs; d += INPUTS)
        add_products(x + d, x_row, panel + d * PANEL, NULL, sums, rows, INPUTS);
    if (d < inputs)
        add_products(x + d, x_row, panel + d * PANEL, NULL, sums, rows, 1);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int i = 0; i < VECTORS; i++)
            memcpy(&totals[r][i * LANES], &sums[r][i], sizeof sums[r][i]);
}

/* Write sums into a row's outputs; most often their number is known when compiled. */
INLINE void write_sums(const struct product *at, int64_t place, const float *sums, const int64_t outputs)
{
    float *wide_out = (float *)at->out + place;
    real *out = (real *)at->out + place;
    if (at->is_wide)
        for (int64_t e = 0; e < outputs; e++)
            wide_out[e] = rounded(sums[e]);
    else
        for (int64_t e = 0; e < outputs; e++)
            out[e] = narrow(sums[e]);
}

/* Write the outputs from `first` on, a panel's, of up to BLOCK rows from `row` on. */
static void multiply_block(const struct product *at, int64_t row, int64_t rows, const real *panel, struct soon soon,
                           int64_t first)
{
    int64_t outputs = at->outputs - first < PANEL ? at->outputs - first : PANEL;
    const real *x = at->x + row * at->x_row;
    float sums[BLOCK][PANEL] = {{0}};
    if (at->added)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t e = 0; e < outputs; e++)
                sums[r][e] = wide(at->added[(row + r) * at->added_row + first + e]);
    switch (rows) {
    case 1: multiply(x, at->x_row, panel, at->inputs, soon, sums, 1); break;
    case 2: multiply(x, at->x_row, panel, at->inputs, soon, sums, 2); break;
    case 3: multiply(x, at->x_row, panel, at->inputs, soon, sums, 3); break;
    case 4: multiply(x, at->x_row, panel, at->inputs, soon, sums, 4); break;
    case 5: multiply(x, at->x_row, panel, at->inputs, soon, sums, 5); break;
#if BLOCK > 6
    case 6: multiply(x, at->x_row, panel, at->inputs, soon, sums, 6); break;
    case 7: multiply(x, at->x_row, panel, at->inputs, soon, sums, 7); break;
#endif
    default: multiply(x, at->x_row, panel, at->inputs, soon, sums, BLOCK);
    }
    for (int64_t r = 0; r < rows; r++)
        if (outputs == PANEL)
            write_sums(at, (row + r) * at->out_row + first, sums[r], PANEL);
        else
            write_sums(at, (row + r) * at->out_row + first, sums[r], outputs);
}

/* Return what a block of rows has fetched of the panel behind its own: as much as each block that meets that panel. */
INLINE struct soon share_of(const struct product *at, int64_t block, int64_t blocks, const real *next)
{
    int64_t steps = at->inputs / INPUTS, begin = steps * block / blocks, end = steps * (block + 1) / blocks;
    return (struct soon){next + begin * INPUTS * PANEL, (end - begin) * INPUTS};
}

/* Return the most rows that pass over weights so fast that these are better left to what the processor fetches by itself:
 * it does well from memory, and asking for more costs. */
INLINE int64_t few_rows(int64_t bytes) { return bytes > CACHED ? 6 : 2; }

/* Write the products of rows with the weights, and what is added to them. */
void product(const void *arguments, int64_t rows)
{
    const struct product at = *(const struct product *)arguments;
    int64_t panels = (at.outputs + PANEL - 1) / PANEL, blocks = (rows + BLOCK - 1) / BLOCK;
    int64_t chunks = (blocks + CHUNK - 1) / CHUNK, size = (at.inputs + INPUTS - 1) / INPUTS * INPUTS * PANEL;
    int fetches = rows > few_rows(panels * size * (int64_t)sizeof(real));
#pragma omp for schedule(static)
    for (int64_t task = 0; task < panels * chunks; task++) {
        int64_t panel = task / chunks, begin = task % chunks * CHUNK;
        int64_t end = begin + CHUNK < blocks ? begin + CHUNK : blocks;
        const real *its = at.panels + panel * size;
        for (int64_t block = begin; block < end; block++) {
            struct soon soon = {NULL, 0};
            if (fetches && panel + 1 < panels)
                soon = share_of(&at, block, blocks, its + size);
            int64_t row = block * BLOCK;
            multiply_block(&at, row, rows - row < BLOCK ? rows - row : BLOCK, its, soon, panel * PANEL);
        }
    }
}
