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
    struct entries prompt, own, next; /* `next` is what the thread's next group begins with */
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

/* Keys that are wanted soon: while eight slots are met, those of `first` to `last` of the eight in the same place. */
struct soon {
    const real *keys;
    int slots, first, last;
};

/* Write the products of a query with `count` keys; what stands behind them up to a multiple of LANES is of no use. */
INLINE void score_tile(const float *query, const float *keys, int count, int64_t width, float scale, float *scores,
                       struct soon soon)
{
    if (width % STRIP || count < LANES) {
        score_each(query, keys, count, width, scale, scores);
        return;
    }
    for (int start = 0; start < count; start += LANES) {
        int s = start + LANES <= count ? start : count - LANES; /* the last keys are met twice, not those behind them */
        if (start < soon.slots)
            fetch(soon.keys + (start + soon.first) * width, (soon.last - soon.first) * width);
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

/* Add the values of a tile, weighted, to the mixtures (R, P) of `sharers` query heads, a number known when compiled;
 * have `fetched` values from `next` on brought near. */
INLINE void mix_tile(const float weights[][TILE], const float *values, int count, int64_t width, float *mixed,
                     const int sharers, const real *next, int fetched)
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

/* What a softmax over the keys met so far has come to: of each query head the largest score, in a lane of its own, and
 * the sum of weights, still over all lanes. */
struct softmax {
    vector largest, sums[SHARERS];
};

/* Turn scores into weights relative to the largest so far; `kept` is what everything before is worth now. The heads go
 * side by side, so that none waits for its own maximum alone. */
INLINE void weigh(float scores[][TILE], int count, struct softmax *softmax, float *kept, const int sharers)
{
    vector high[SHARERS], added[SHARERS] = {{0}};
#pragma GCC unroll 8
    for (int r = 0; r < SHARERS; r++)
        high[r] = all(-INFINITY);
#pragma GCC unroll 8
    for (int r = 0; r < sharers; r++)
        for (int s = count; s % LANES; s++)
            scores[r][s] = -INFINITY;
    for (int s = 0; s < count; s += LANES)
#pragma GCC unroll 8
        for (int r = 0; r < sharers; r++)
            high[r] = larger(load(scores[r] + s), high[r]);
    vector largest = larger(largest_of_four(high), softmax->largest);
    float now[LANES];
    store(now, largest);
    store(kept, exp_of_all(softmax->largest - largest));
    softmax->largest = largest;
    for (int s = 0; s < count; s += LANES)
#pragma GCC unroll 8
        for (int r = 0; r < sharers; r++) {
            vector weights = exp_of_all(load(scores[r] + s) - now[r]);
            added[r] += weights;
            store(scores[r] + s, weights);
        }
#pragma GCC unroll 8
    for (int r = 0; r < sharers; r++)
        softmax->sums[r] = softmax->sums[r] * kept[r] + added[r];
}

/* Attend to some slots, in tiles that are alike: while the keys of one are met, the next one's are fetched, a part by
 * each query head, and so are its values while values are mixed, so that memory is never waited for all at once. The
 * last tile has `next` fetched. */
INLINE void attend_to(struct entries to, struct entries next, const float *query, int64_t width,
                      struct softmax *softmax, float *mixed, const int sharers)
{
    float scores[SHARERS][TILE], kept[LANES], scale = 1.0f / sqrtf((float)width), room[SIZE_OF_ROOM(width)];
    int64_t tiles = (to.length + TILE - 1) / TILE;
    int64_t size = tiles ? ((to.length + tiles - 1) / tiles + LANES - 1) / LANES * LANES : 0;
    while (to.length) {
        int count = at_most(to.length, (int)size);
        struct entries rest = {to.keys + count * width, to.values + count * width, to.length - count};
        struct entries ahead = rest.length ? rest : next;
        int fetched = at_most(ahead.length, TILE);
        const float *read = floats(to.keys, count * width, room);
        for (int r = 0; r < sharers; r++) {
            struct soon soon = {ahead.keys, fetched, LANES * r / sharers, LANES * (r + 1) / sharers};
            score_tile(query + r * width, read, count, width, scale, scores[r], soon);
        }
        weigh(scores, count, softmax, kept, sharers);
        for (int r = 0; r < sharers; r++)
            for (int64_t p = 0; p < width; p++)
                mixed[r * width + p] *= kept[r];
        read = floats(to.values, count * width, room);
        mix_tile(scores, read, count, width, mixed, sharers, ahead.values, fetched);
        to = rest;
    }
}

/* Attend from `sharers` query heads of a group, a number known when compiled, from head `first` on. */
INLINE void attend_together(const struct group *at, int64_t first, const int sharers, const int64_t width)
{
    float query[SHARERS * width], mixed[SHARERS * width];
    struct softmax softmax = {.largest = all(-INFINITY)};
    for (int64_t p = 0; p < sharers * width; p++)
        query[p] = wide(at->query[first * width + p]);
    memset(mixed, 0, sizeof mixed);
    attend_to(at->prompt, at->own, query, width, &softmax, mixed, sharers);
    attend_to(at->own, at->next, query, width, &softmax, mixed, sharers);
    for (int r = 0; r < sharers; r++) {
        float sum = sum_of(softmax.sums[r]);
        for (int64_t p = 0; p < width; p++)
            at->out[(first + r) * width + p] = narrow(mixed[r * width + p] / sum);
    }
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
