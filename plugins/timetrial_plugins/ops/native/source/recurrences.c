/* The mixers of recurrent layers between their projections: convolution, state, skip and gate.
 *
 * In memory the channels of a window and of a state lie side by side: windows are (K - 1, C), states (N, P).
 * Shapes: B rows, C convolution channels, K taps, E inner width, H heads, P channels per head, N state size,
 * G groups of heads that share B and C, X width of x and B as hybrids project them.
 */
#include "vectors.h"

/* Weights of a causal depthwise convolution. */
struct taps {
    const real *taps; /* (K, C); the last one belongs to the token itself */
    const real *bias; /* (C,) or NULL */
    int64_t count, channels;
};

/* Convolve one token of a row, x (C,), into y (C,), and move its window on. */
INLINE void convolve(const real *x, struct taps by, real *window, float *y)
{
    int64_t channels = by.channels, reach = by.count - 1;
    const real *last = by.taps + reach * channels;
#pragma omp simd
    for (int64_t c = 0; c < channels; c++)
        y[c] = wide(x[c]) * wide(last[c]) + (by.bias ? wide(by.bias[c]) : 0.0f);
    for (int64_t tap = 0; tap < reach; tap++) {
        real *kept = window + tap * channels;
        const real *weights = by.taps + tap * channels, *newer = tap + 1 < reach ? kept + channels : x;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            y[c] += wide(kept[c]) * wide(weights[c]);
            kept[c] = newer[c];
        }
    }
#pragma omp simd
    for (int64_t c = 0; c < channels; c++)
        y[c] = rounded(y[c]);
}

/* Copy numbers as floats. */
INLINE void widen(const real *from, int64_t count, float *to)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        to[i] = wide(from[i]);
}

/* What a token does to a head's state. */
struct token {
    const float *x;     /* (P,) what is added, for each channel */
    const float *b, *c; /* (N,) */
    const float *delta; /* (P,) Mamba-1's step sizes, NULL: one decay for all */
    const float *rates; /* (N, P) */
    float decay;
    int64_t width, size;
};

/* Step `count` vectors of channels, a number known when compiled, from `first` on; y is what the state gives. */
INLINE void step_vectors(const struct token *of, float *state, int64_t first, float *y, const int count)
{
    vector x[8], sums[8], delta[8];
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) {
        x[i] = load(of->x + first + i * LANES);
        delta[i] = of->delta ? load(of->delta + first + i * LANES) : all(0.0f);
        sums[i] = all(0.0f);
    }
    for (int64_t n = 0; n < of->size; n++) {
        float *cells = state + n * of->width + first;
#pragma GCC unroll 8
        for (int i = 0; i < count; i++) {
            vector decay = all(of->decay);
            if (of->delta)
                decay = exp_of_all(delta[i] * load(of->rates + n * of->width + first + i * LANES));
            vector cell = load(cells + i * LANES) * decay + x[i] * of->b[n];
            store(cells + i * LANES, cell);
            sums[i] += cell * of->c[n];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < count; i++)
        store(y + first + i * LANES, sums[i]);
}

/* Step a head's state (N, P), and write what it gives, y (P,). */
static void step_state(const struct token *of, float *state, float *y)
{
    int64_t p = 0, width = of->width;
    for (; p + 8 * LANES <= width; p += 8 * LANES)
        step_vectors(of, state, p, y, 8);
    for (; p + 4 * LANES <= width; p += 4 * LANES)
        step_vectors(of, state, p, y, 4);
    for (; p + 2 * LANES <= width; p += 2 * LANES)
        step_vectors(of, state, p, y, 2);
    for (; p < width; p++) {
        y[p] = 0.0f;
        for (int64_t n = 0; n < of->size; n++) {
            float *cell = state + n * width + p;
            float decay = of->delta ? exp_of(of->delta[p] * of->rates[n * width + p]) : of->decay;
            *cell = *cell * decay + of->x[p] * of->b[n];
            y[p] += *cell * of->c[n];
        }
    }
}

/* What a layer keeps of the tokens before, row by row. */
struct memory {
    real *windows; /* (B, K - 1, C) */
    int64_t window_row;
    float *states; /* (B, H, N, P) */
    int64_t state_row;
};

struct llamba {
    const real *projected; /* (B, C + E + H): x | B | C, gate, A_log */
    int64_t projected_row;
    struct memory memory;
    const real *taps, *bias;
    int64_t num_taps;
    const real *skip;      /* (H,) */
    const real *gate_bias; /* (E,) or NULL */
    float *room;           /* (B, C + E), room to work in */
    real *out;             /* (B, E) */
    int64_t out_row, heads, groups, width, size;
};

/* Discrete Mamba-2. */
void llamba(const void *arguments, int64_t rows)
{
    const struct llamba at = *(const struct llamba *)arguments;
    int64_t width = at.width, size = at.size, inner = at.heads * width, channels = inner + 2 * at.groups * size;
    struct taps by = {at.taps, at.bias, at.num_taps, channels};
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        convolve(at.projected + row * at.projected_row, by, at.memory.windows + row * at.memory.window_row,
                 at.room + row * (channels + inner));
#pragma omp for schedule(static)
    for (int64_t task = 0; task < rows * at.heads; task++) {
        int64_t row = task / at.heads, head = task % at.heads, group = head / (at.heads / at.groups);
        const real *projected = at.projected + row * at.projected_row, *gate = projected + channels + head * width;
        const float *x = at.room + row * (channels + inner), *b = x + inner + group * size;
        real *o = at.out + row * at.out_row + head * width;
        float *y = at.room + row * (channels + inner) + channels + head * width;
        struct token token = {
            .x = x + head * width,
            .b = b,
            .c = b + at.groups * size,
            .decay = sigmoid(-wide(projected[channels + inner + head])),
            .width = width,
            .size = size,
        };
        step_state(&token, at.memory.states + row * at.memory.state_row + head * width * size, y);
#pragma omp simd
        for (int64_t p = 0; p < width; p++) {
            float bias = at.gate_bias ? wide(at.gate_bias[head * width + p]) : 0.0f;
            float opened = rounded(silu(rounded(wide(gate[p]) + bias)));
            o[p] = narrow(rounded(y[p] + wide(at.skip[head]) * token.x[p]) * opened);
        }
    }
}

struct mamba1 {
    const real *projected; /* (B, 2 E + 2 X + rank): z | x | B | C | dt */
    int64_t projected_row;
    const real *delta; /* (B, E) without its bias */
    int64_t delta_row;
    struct memory memory;
    const real *taps, *bias;
    int64_t num_taps;
    const float *rates, *delta_bias; /* (H, N, P) and (E,) */
    const real *skip;                /* (E,) */
    float *room;                     /* (B, 4 E + X + H N), room to work in */
    real *out;                       /* (B, E) */
    int64_t out_row, heads, repeat, width, size;
};

/* Mamba-1 in heads. */
void mamba1(const void *arguments, int64_t rows)
{
    const struct mamba1 at = *(const struct mamba1 *)arguments;
    int64_t heads = at.heads, repeat = at.repeat, width = at.width, size = at.size, inner = heads * width;
    int64_t shared = inner / repeat, shared_b = heads / repeat * size, states_read = shared_b + heads * size; /* B | C */
    struct taps by = {at.taps, at.bias, at.num_taps, inner};
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const real *z = at.projected + row * at.projected_row, *source = z + inner;
        float *convolved = at.room + row * (4 * inner + states_read), *steps = convolved + inner, *x = steps + inner;
        float *y = x + inner, *b = y + inner, *c = b + shared_b;
        real repeated[inner];
        for (int64_t head = 0; head < heads; head++)
            memcpy(repeated + head * width, source + head / repeat * width, width * sizeof(real));
        convolve(repeated, by, at.memory.windows + row * at.memory.window_row, convolved);
        widen(source + shared, states_read, b);
#pragma omp simd
        for (int64_t e = 0; e < inner; e++) {
            convolved[e] = rounded(silu(convolved[e]));
            steps[e] = softplus(wide(at.delta[row * at.delta_row + e]) + at.delta_bias[e]);
            x[e] = convolved[e] * steps[e];
        }
        for (int64_t head = 0; head < heads; head++) {
            struct token token = {
                .x = x + head * width,
                .b = b + head / repeat * size,
                .c = c + head * size,
                .delta = steps + head * width,
                .rates = at.rates + head * width * size,
                .width = width,
                .size = size,
            };
            step_state(&token, at.memory.states + row * at.memory.state_row + head * width * size, y + head * width);
        }
        real *o = at.out + row * at.out_row;
#pragma omp simd
        for (int64_t e = 0; e < inner; e++)
            o[e] = narrow((y[e] + wide(at.skip[e]) * convolved[e]) * silu(wide(z[e])));
    }
}

struct mamba2 {
    const real *projected; /* (B, E + C + H): z | x | B | C | dt, with C = 2 X + E convolved channels */
    int64_t projected_row;
    struct memory memory;
    const real *taps, *bias;
    int64_t num_taps;
    const float *rates, *dt_bias; /* (H,) */
    const real *skip, *norm;      /* (H,) and (E,) */
    double epsilon;
    float *room; /* (B, C + 2 E), room to work in */
    real *out;   /* (B, E) */
    int64_t out_row, heads, repeat, width, size;
};

/* The hybrids' Mamba-2. */
void mamba2(const void *arguments, int64_t rows)
{
    const struct mamba2 at = *(const struct mamba2 *)arguments;
    int64_t heads = at.heads, repeat = at.repeat, width = at.width, size = at.size, inner = heads * width;
    int64_t shared = inner / repeat, shared_b = heads / repeat * size;
    int64_t channels = shared + shared_b + heads * size, room_row = channels + 2 * inner;
    struct taps by = {at.taps, at.bias, at.num_taps, channels};
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        float *convolved = at.room + row * room_row;
        convolve(at.projected + row * at.projected_row + inner, by, at.memory.windows + row * at.memory.window_row,
                 convolved);
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            convolved[c] = rounded(silu(convolved[c]));
    }
#pragma omp for schedule(static)
    for (int64_t task = 0; task < rows * heads; task++) {
        int64_t row = task / heads, head = task % heads;
        const real *projected = at.projected + row * at.projected_row, *z = projected + head * width;
        const float *convolved = at.room + row * room_row, *x = convolved + head / repeat * width;
        float *scaled = at.room + row * room_row + channels + head * width, *y = scaled + inner, sum = 0.0f;
        real *o = at.out + row * at.out_row + head * width;
        float dt = softplus(wide(projected[inner + channels + head]) + at.dt_bias[head]);
        for (int64_t p = 0; p < width; p++)
            scaled[p] = x[p] * dt;
        struct token token = {
            .x = scaled,
            .b = convolved + shared + head / repeat * size,
            .c = convolved + shared + shared_b + head * size,
            .decay = exp_of(at.rates[head] * dt),
            .width = width,
            .size = size,
        };
        step_state(&token, at.memory.states + row * at.memory.state_row + head * width * size, y);
#pragma omp simd reduction(+ : sum)
        for (int64_t p = 0; p < width; p++) {
            y[p] = (y[p] + wide(at.skip[head]) * x[p]) * silu(wide(z[p]));
            sum += y[p] * y[p];
        }
        float scale = 1.0f / sqrtf(sum / width + (float)at.epsilon);
        for (int64_t p = 0; p < width; p++)
            o[p] = narrow(y[p] * scale * wide(at.norm[head * width + p]));
    }
}
