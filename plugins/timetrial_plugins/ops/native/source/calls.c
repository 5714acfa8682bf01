/* Functions one after the other on the same threads: what a step consists of, without a caller in between.
 *
 * Every function of the kernels divides its work among the threads that call it together, and all have done theirs when
 * it returns (omp for, with the barrier at its end). What it works on stands in its arguments but for the number of
 * rows, so that a list of calls serves however many there are.
 */
#include <stdint.h>
#include <time.h>

struct call {
    void (*function)(const void *arguments, int64_t rows);
    const void *arguments;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Make calls for a number of rows. Their seconds are added to `seconds` (count,) unless that is NULL. */
void run(const struct call *calls, int64_t count, int64_t rows, double *seconds)
{
#pragma omp parallel
    {
        double begun = seconds ? now() : 0.0;
        for (int64_t i = 0; i < count; i++) {
            calls[i].function(calls[i].arguments, rows);
#pragma omp master
            if (seconds) {
                double done = now();
                seconds[i] += done - begun;
                begun = done;
            }
        }
    }
}
