/* Grouped-query attention from one token per row to the row's own keys, each of which is read once.
 *
 * A row and key/value head are read in tiles of slots: scores, then the running maximum, sum and mixture of values
 * (online softmax; Milakov and Gimelshein, arXiv 1805.02867). The prompt that a row shares comes first, then its own
 * slots.
 * Shapes: B rows, G key/value heads, R query heads to each, P channels per head, S slots.
 */
#include <omp.h>

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
    struct entries prompt, own, next; /* `next` is what the next group begins with, to be fetched in time */
    int64_t sharers, width;
};

INLINE int at_most(int64_t count, int bound) { return count < bound ? (int)count : bound; }

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

/* Write the products of a query with keys that are too few, or of another width, to be met eight at a time. */
static void __attribute__((noinline)) score_each(const float *query, const float *keys, int count, int64_t width,
                                                 float scale, float *scores)
{
    for (int s = 0; s < count; s++) {
        float score = 0.0f;
        for (int64_t p = 0; p < width; p++)
            score += query[p] * keys[s * width + p];
        scores[s] = score * scale;
    }
}

/* Write the products of a query with `count` keys; what stands behind them up to a multiple of LANES is of no use. */
INLINE void score_tile(const float *query, const float *keys, int count, int64_t width, float scale, float *scores,
                       const real *next)
{
    if (width % STRIP || count < LANES) {
        score_each(query, keys, count, width, scale, scores);
        return;
    }
    for (int start = 0; start < count; start += LANES) {
        int s = start + LANES <= count ? start : count - LANES; /* the last keys are met twice, not those behind them */
        if (next)
            fetch(next + start * width, LANES * width);
        vector partial[LANES] = {{0}};
        const float *eight = keys + s * width;
        asm("" : "+r"(eight)); /* or GCC computes an address for every load, instead of adding to this one */
        for (int64_t strip = 0; strip < width; strip += STRIP) {
            vector q[STRIP / LANES];
#pragma GCC unroll 8
            for (int i = 0; i < STRIP / LANES; i++)
                q[i] = load(query + strip + i * LANES);
#pragma GCC unroll 8
            for (int k = 0; k < LANES; k++)
#pragma GCC unroll 8
                for (int i = 0; i < STRIP / LANES; i++)
                    partial[k] += q[i] * load(eight + k * width + strip + i * LANES);
        }
        store(scores + s, sums_of(partial) * scale);
    }
}

/* Add the values of a tile, weighted, to the mixtures (R, P) of `sharers` query heads, a number known when compiled. */
INLINE void mix_tile(const float weights[][TILE], const float *values, int count, int64_t width, float *mixed,
                     const int sharers, const real *next, int64_t fetched)
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
            if (!strip && s < fetched)
                fetch(next + s * width, width);
#pragma GCC unroll 8
            for (int i = 0; i < STRIP / LANES; i++) {
                vector value = load(values + s * width + strip + i * LANES);
                HELD(value);
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

/* What a softmax over the keys met so far has come to, for each query head. */
struct sums {
    float largest[SHARERS], sums[SHARERS];
};

/* Turn scores into weights relative to the largest so far; `kept` is what everything before is worth now. The heads go
 * side by side, so that none waits for its own maximum alone. */
INLINE void weigh(float scores[][TILE], int count, struct sums *sums, float *kept, const int sharers)
{
    vector high[SHARERS], added[SHARERS] = {{0}};
#pragma GCC unroll 8
    for (int r = 0; r < sharers; r++) {
        for (int s = count; s % LANES; s++)
            scores[r][s] = -INFINITY;
        high[r] = all(sums->largest[r]);
    }
    for (int s = 0; s < count; s += LANES)
#pragma GCC unroll 8
        for (int r = 0; r < sharers; r++)
            high[r] = larger(load(scores[r] + s), high[r]);
    float now[SHARERS];
#pragma GCC unroll 8
    for (int r = 0; r < sharers; r++)
        now[r] = largest_of(high[r]);
    for (int s = 0; s < count; s += LANES)
#pragma GCC unroll 8
        for (int r = 0; r < sharers; r++) {
            vector weights = exp_of_all(load(scores[r] + s) - now[r]);
            added[r] += weights;
            store(scores[r] + s, weights);
        }
#pragma GCC unroll 8
    for (int r = 0; r < sharers; r++) {
        kept[r] = sums->largest[r] == -INFINITY ? 0.0f : exp_of(sums->largest[r] - now[r]);
        sums->sums[r] = sums->sums[r] * kept[r] + sum_of(added[r]);
        sums->largest[r] = now[r];
    }
}

/* Attend to some slots; what comes after them is only fetched. The values of a tile are fetched while its keys are met,
 * and the next tile's keys while its values are. */
INLINE void attend_to(struct entries to, struct entries next, const float *query, int64_t width, struct sums *sums,
                      float *mixed, const int sharers)
{
    float scores[SHARERS][TILE], kept[SHARERS], scale = 1.0f / sqrtf((float)width), room[SIZE_OF_ROOM(width)];
    for (int64_t tile = 0; tile < to.length; tile += TILE) {
        const real *keys = to.keys + tile * width, *values = to.values + tile * width;
        int count = at_most(to.length - tile, TILE);
        int64_t left = to.length - tile - count;
        const float *read = floats(keys, count * width, room);
        for (int r = 0; r < sharers; r++)
            score_tile(query + r * width, read, count, width, scale, scores[r], r ? NULL : values);
        weigh(scores, count, sums, kept, sharers);
        for (int r = 0; r < sharers; r++)
            for (int64_t p = 0; p < width; p++)
                mixed[r * width + p] *= kept[r];
        read = floats(values, count * width, room);
        mix_tile(scores, read, count, width, mixed, sharers, left ? keys + TILE * width : next.keys,
                 at_most(left ? left : next.length, TILE));
    }
}

/* Attend from `sharers` query heads of a group, a number known when compiled, from head `first` on. */
INLINE void attend_together(const struct group *at, int64_t first, const int sharers, const int64_t width)
{
    float query[SHARERS * width], mixed[SHARERS * width];
    struct sums sums;
    for (int64_t p = 0; p < sharers * width; p++)
        query[p] = wide(at->query[first * width + p]);
    for (int r = 0; r < sharers; r++) {
        sums.largest[r] = -INFINITY;
        sums.sums[r] = 0.0f;
    }
    memset(mixed, 0, sizeof mixed);
    attend_to(at->prompt, at->own, query, width, &sums, mixed, sharers);
    attend_to(at->own, at->next, query, width, &sums, mixed, sharers);
    for (int r = 0; r < sharers; r++)
        for (int64_t p = 0; p < width; p++)
            at->out[(first + r) * width + p] = narrow(mixed[r * width + p] / sums.sums[r]);
}

INLINE void attend_of_width(const struct group *at, const int64_t width)
{
    for (int64_t first = 0; first < at->sharers; first += SHARERS)
        switch (at->sharers - first) {
        case 1: attend_together(at, first, 1, width); break;
        case 2: attend_together(at, first, 2, width); break;
        case 3: attend_together(at, first, 3, width); break;
        default: attend_together(at, first, SHARERS, width);
        }
}

/* Usual widths are known when this is compiled: a loop less, and places are part of the instructions. */
static void attend_group(const struct group *at)
{
    switch (at->width) {
    case 32: attend_of_width(at, 32); break;
    case 64: attend_of_width(at, 64); break;
    case 128: attend_of_width(at, 128); break;
    default: attend_of_width(at, at->width);
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

INLINE struct group group_of(const struct attend *at, int64_t row, int64_t head)
{
    int64_t place = row * at->own_row + head * at->own_head;
    int64_t prompt = at->prompt_of_row ? at->prompt_of_row[row] : -1;
    int64_t prompt_place = prompt * at->prompt_row + head * at->prompt_head;
    struct group group = {
        .query = at->query + row * at->query_row + head * at->sharers * at->width,
        .out = at->out + row * at->out_row + head * at->sharers * at->width,
        .own = {at->keys + place, at->values + place, at->lengths[row]},
        .sharers = at->sharers,
        .width = at->width,
    };
    if (prompt >= 0)
        group.prompt = (struct entries){
            at->prompt_keys + prompt_place, at->prompt_values + prompt_place, at->prompt_lengths[prompt]};
    return group;
}

void attend(const void *arguments, int64_t rows)
{
    const struct attend at = *(const struct attend *)arguments;
    int64_t tasks = rows * at.groups, stride = omp_get_num_threads();
    /* One group after the other, so that a prompt's keys stay in a cache from row to row; round robin, because rows
     * that came first are the longest. */
#pragma omp for schedule(static, 1)
    for (int64_t task = 0; task < tasks; task++) {
        struct group group = group_of(&at, task % rows, task / rows);
        if (task + stride < tasks) {
            struct group next = group_of(&at, (task + stride) % rows, (task + stride) / rows);
            group.next = next.prompt.length ? next.prompt : next.own;
        }
        attend_group(&group);
    }
}
