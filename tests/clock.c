/* Shifts the wall clock of a process and its children by SHIFT_DAYS days; the monotonic clock stays as it is.
 *
 *     cc -shared -fPIC -o clock.so tests/clock.c && SHIFT_DAYS=400 LD_PRELOAD=$PWD/clock.so python -m pytest
 *
 * libfaketime 0.9.10 breaks time.sleep or threading.Event.wait of Python 3.11 and later, whichever clocks it is told to fake.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t shift(void) {
    const char *days = getenv("SHIFT_DAYS");
    return days ? atol(days) * 86400 : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
