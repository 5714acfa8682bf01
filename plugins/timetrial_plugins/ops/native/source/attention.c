/* Grouped-query attention from one token per row to the row's own keys, each of which is read once.
 *
 * A row and key/value head are read in tiles of slots: scores, then the running maximum, sum and mixture of values
 * (online softmax; Milakov and Gimelshein, arXiv 1805.02867). The prompt that a row shares comes first, then its own
 * slots.
 * Shapes: B rows, G key/value heads, R query heads to each, P channels per head, S slots.
 */
#include "vectors.h"

#define STRIP 32  /* channels that are multiplied together; a width is a multiple, or is read one by one */
#define TILE 64   /* slots, a multiple of LANES; the keys and values of a tile stay in a core's own cache */
#ifdef BFLOAT16
#define SIZE_OF_ROOM(width) (TILE * (width)) /* for the keys or values of a tile as floats */
#else
#define SIZE_OF_ROOM(width) 1
#endif
#define SHARERS 4 /* query heads that read a tile together: their mixtures of a strip fill 16 registers */

/* Keys and values (S, P) that lie together. */
struct entries {
    const real *keys, *values;
    int64_t length;
};

/* What the query heads of a group attend to. */
struct group {
    const real *query; /* (R, P) */
    real *out;         /* (R, P) */
    struct entries prompt, own;
    int64_t sharers, width;
};

/* Have numbers brought into the second cache: the first has too few places for lines that are on their way. */
INLINE void fetch(const real *from, int64_t count)
{
    for (int64_t i = 0; i < count; i += 64 / (int64_t)sizeof(real))
        __builtin_prefetch(from + i, 0, 2);
}

/* Return numbers as floats: themselves, or copies in `room`. */
INLINE const float *floats(const real *from, int64_t count, float *room)
{
#ifdef BFLOAT16
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        room[i] = wide(from[i]);
    return room;
#else
    (void)count, (void)room;
    return from;
#endif
}

/* Write the products of a query with `count` keys; what stands behind them up to a multiple of LANES is of no use. */
INLINE void score_tile(const float *query, const float *keys, int count, int64_t width, float scale, float *scores,
                       const real *next)
{
    if (width % STRIP || count < LANES) {
        for (int s = 0; s < count; s++) {
            float score = 0.0f;
            for (int64_t p = 0; p < width; p++)
                score += query[p] * keys[s * width + p];
            scores[s] = score * scale;
        }
        return;
    }
    for (int start = 0; start < count; start += LANES) {
        int s = start + LANES <= count ? start : count - LANES; /* the last keys are met twice, not those behind them */
        if (next)
            fetch(next + start * width, LANES * width);
        vector partial[LANES] = {{0}};
        for (int64_t strip = 0; strip < width; strip += STRIP) {
            vector q[STRIP / LANES];
#pragma GCC unroll 8
            for (int i = 0; i < STRIP / LANES; i++)
                q[i] = load(query + strip + i * LANES);
#pragma GCC unroll 8
            for (int k = 0; k < LANES; k++)
#pragma GCC unroll 8
                for (int i = 0; i < STRIP / LANES; i++)
                    partial[k] += q[i] * load(keys + (s + k) * width + strip + i * LANES);
        }
        store(scores + s, sums_of(partial) * scale);
    }
}

/* Add the values of a tile, weighted, to the mixtures (R, P) of `sharers` query heads, a number known when compiled. */
INLINE void mix_tile(const float weights[][TILE], const float *values, int count, int64_t width, float *mixed,
                     const int sharers, const real *next)
{
    int64_t strips = width - width % STRIP;
    for (int64_t strip = 0; strip < strips; strip += STRIP) {
        vector sums[SHARERS][STRIP / LANES];
#pragma GCC unroll 8
        for (int r = 0; r < sharers; r++)
#pragma GCC unroll 8
            for (int i = 0; i < STRIP / LANES; i++)
                sums[r][i] = load(mixed + r * width + strip + i * LANES);
        for (int s = 0; s < count; s++) {
            if (!strip && next)
                fetch(next + s * width, width);
#pragma GCC unroll 8
            for (int i = 0; i < STRIP / LANES; i++) {
                vector value = load(values + s * width + strip + i * LANES);
#pragma GCC unroll 8
                for (int r = 0; r < sharers; r++)
                    sums[r][i] += weights[r][s] * value;
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < sharers; r++)
#pragma GCC unroll 8
            for (int i = 0; i < STRIP / LANES; i++)
                store(mixed + r * width + strip + i * LANES, sums[r][i]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < sharers; r++)
        for (int s = 0; s < count; s++)
            for (int64_t p = strips; p < width; p++)
                mixed[r * width + p] += weights[r][s] * values[s * width + p];
}

/* Turn scores into weights relative to the largest so far; return what everything before is worth now. */
INLINE float weigh(float *scores, int count, float *largest, float *sum)
{
    for (int s = count; s % LANES; s++)
        scores[s] = -INFINITY;
    vector high = all(*largest), added = {0};
    for (int s = 0; s < count; s += LANES)
        high = larger(load(scores + s), high);
    float now = largest_of(high), before = *largest;
    for (int s = 0; s < count; s += LANES) {
        vector weights = exp_of_all(load(scores + s) - now);
        added += weights;
        store(scores + s, weights);
    }
    float kept = before == -INFINITY ? 0.0f : exp_of(before - now);
    *sum = *sum * kept + sum_of(added);
    *largest = now;
    return kept;
}

/* What a softmax over the keys met so far has come to. */
struct sums {
    float largest[SHARERS], sums[SHARERS];
};

INLINE void attend_to(struct entries to, const float *query, int64_t width, struct sums *sums, float *mixed,
                      const int sharers)
{
    float scores[SHARERS][TILE], scale = 1.0f / sqrtf((float)width), room[SIZE_OF_ROOM(width)];
    for (int64_t tile = 0; tile < to.length; tile += TILE) {
        const real *keys = to.keys + tile * width, *values = to.values + tile * width;
        int count = to.length - tile < TILE ? (int)(to.length - tile) : TILE;
        const float *read = floats(keys, count * width, room);
        for (int r = 0; r < sharers; r++)
            score_tile(query + r * width, read, count, width, scale, scores[r], r ? NULL : values);
        for (int r = 0; r < sharers; r++) {
            float kept = weigh(scores[r], count, &sums->largest[r], &sums->sums[r]);
            for (int64_t p = 0; p < width; p++)
                mixed[r * width + p] *= kept;
        }
        read = floats(values, count * width, room);
        mix_tile(scores, read, count, width, mixed, sharers, tile + TILE < to.length ? keys + TILE * width : NULL);
    }
}

/* Attend from `sharers` query heads of a group, a number known when compiled, from head `first` on. */
INLINE void attend_together(const struct group *at, int64_t first, const int sharers)
{
    int64_t width = at->width;
    float query[SHARERS * width], mixed[SHARERS * width];
    struct sums sums;
    for (int64_t p = 0; p < sharers * width; p++)
        query[p] = wide(at->query[first * width + p]);
    for (int r = 0; r < sharers; r++) {
        sums.largest[r] = -INFINITY;
        sums.sums[r] = 0.0f;
    }
    memset(mixed, 0, sizeof mixed);
    attend_to(at->prompt, query, width, &sums, mixed, sharers);
    attend_to(at->own, query, width, &sums, mixed, sharers);
    for (int r = 0; r < sharers; r++)
        for (int64_t p = 0; p < width; p++)
            at->out[(first + r) * width + p] = narrow(mixed[r * width + p] / sums.sums[r]);
}

static void attend_group(const struct group *at)
{
    for (int64_t first = 0; first < at->sharers; first += SHARERS)
        switch (at->sharers - first) {
        case 1: attend_together(at, first, 1); break;
        case 2: attend_together(at, first, 2); break;
        case 3: attend_together(at, first, 3); break;
        default: attend_together(at, first, SHARERS);
        }
}

struct attend {
    const real *query; /* (B, G, R, P) */
    int64_t query_row;
    const real *keys, *values; /* (B, G, S, P) */
    int64_t own_row, own_head;
    const int64_t *lengths;                  /* (B,) */
    const real *prompt_keys, *prompt_values; /* (M, G, T, P) of prompts that rows share */
    int64_t prompt_row, prompt_head;
    const int64_t *prompt_lengths; /* (M,) */
    const int32_t *prompt_of_row;  /* (B,), -1 for rows that share none, or NULL where none does */
    real *out;                     /* (B, G, R, P) */
    int64_t out_row, groups, sharers, width;
};

void attend(const void *arguments, int64_t rows)
{
    const struct attend at = *(const struct attend *)arguments;
    int64_t width = at.width;
    /* One group after the other, so that a prompt's keys stay in a cache from row to row; round robin, because rows
     * that came first are the longest. */
#pragma omp for schedule(static, 1)
    for (int64_t task = 0; task < rows * at.groups; task++) {
        int64_t row = task % rows, head = task / rows, place = row * at.own_row + head * at.own_head;
        int64_t prompt = at.prompt_of_row ? at.prompt_of_row[row] : -1;
        int64_t prompt_place = prompt * at.prompt_row + head * at.prompt_head;
        struct group group = {
            .query = at.query + row * at.query_row + head * at.sharers * width,
            .out = at.out + row * at.out_row + head * at.sharers * width,
            .own = {at.keys + place, at.values + place, at.lengths[row]},
            .sharers = at.sharers,
            .width = width,
        };
        if (prompt >= 0)
            group.prompt = (struct entries){
                at.prompt_keys + prompt_place, at.prompt_values + prompt_place, at.prompt_lengths[prompt]};
        attend_group(&group);
    }
}
