/* The compiled way of resting.py: rests, and looks at what has come, until somebody has to look.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

struct pace { /* what resting.py keeps of it */
    double rest_s, often_s;
    double woken_s, before_s; /* when something came the last time, and the time before */
};

struct arrivals;

/* receive.c */
int diemcau_receive(struct arrivals *arrivals, double now_s);
int diemcau_is_behind(const struct arrivals *arrivals);

static double monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A signal ends it: Python is to hear of that. */
static int sleep_until(double at_s) {
    struct timespec at = {(time_t)at_s, (long)((at_s - (double)(time_t)at_s) * 1e9)};
    return !clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* Until `at_s`, in the milliseconds of epoll_wait; never less, since a timer would not be due yet. */
static int milliseconds(double at_s, double now_s) {
    double left = (at_s - now_s) * 1e3;
    return left <= 0 ? 0 : left > 1e6 ? 1000000 : (int)left + 1;
}

/* As Resting.select of what comes on `fd`, read by `arrivals`, until `end_s`, or something comes after `due_s`:
 * how many of that are somebody's; 0: the caller has to see for itself what has come. */
int diemcau_rest(struct arrivals *arrivals, struct pace *pace, int epoll, int fd, double end_s,
                 double due_s) {
    for (;;) {
        double now_s = monotonic(), next_s = pace->woken_s + pace->rest_s;
        int often = pace->woken_s - pace->before_s < pace->often_s;
        if (often && now_s < next_s && !diemcau_is_behind(arrivals)) {
            if (!sleep_until(next_s))
                return 0;
            now_s = monotonic();
        }
        struct epoll_event events[2];
        int count = epoll_wait(epoll, events, 2, milliseconds(end_s, now_s));
        if (count <= 0)
            return 0;
        now_s = monotonic();
        pace->before_s = pace->woken_s;
        pace->woken_s = now_s;
        if (count > 1 || events[0].data.fd != fd)
            return 0;
        int left = diemcau_receive(arrivals, now_s);
        if (left || now_s >= due_s || now_s >= end_s)
            return left;
    }
}
