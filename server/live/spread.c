/* What is ready for many sockets, sent in one call (spread.py). */
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ring.h"

int diemcau_version(void) { return 3; }

enum { FEW = 8 }; /* below, a call of the kernel each is as good */

/* Posts on their way, and who did not take all of theirs: whose[k] is which, taken[k] what it took. */
struct out {
    struct post posts[RING];
    int waiting;
    uint32_t *short_of, *taken;
    int found;
};

static void fell_short(struct out *out, uint32_t whose, ssize_t sent)
{
    out->short_of[out->found] = whose;
    out->taken[out->found++] = sent > 0 ? sent : 0;
}

static void go(struct out *out)
{
    int32_t sent[RING];
    int done = out->waiting < FEW ? 0 : ring_send(out->posts, out->waiting, sent);
    for (int i = 0; i < out->waiting; i++) {
        const struct post *post = &out->posts[i];
        if (i >= done)
            sent[i] = send(post->fd, post->data, post->size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent[i] != (int32_t)post->size)
            fell_short(out, post->whose, sent[i]);
    }
    out->waiting = 0;
}

static void post(struct out *out, int fd, const char *data, uint32_t size, uint32_t whose)
{
    out->posts[out->waiting++] = (struct post){fd, size, data, whose};
    if (out->waiting == RING)
        go(out);
}

/* fds[i] gets the next sizes[i] bytes of data or, where all get the same, the first sizes[0].
 * Returns how many did not take all of theirs: short_of[k] is which, taken[k] what it took. */
int diemcau_spread(const int *fds, int count, const uint32_t *sizes, int same, const char *data,
                   uint32_t *short_of, uint32_t *taken)
{
    struct out out = {.short_of = short_of, .taken = taken};
    for (int i = 0; i < count; i++) {
        post(&out, fds[i], data, sizes[same ? 0 : i], i);
        if (!same)
            data += sizes[i];
    }
    go(&out);
    return out.found;
}

/* All of those seats whose place hears (hears[at[i]]) get data, where clear[] says that descriptor
 * fds[i] still is line numbers[i]'s and nothing waits before. Returns how many did not get all of it,
 * or nothing: short_of[k] is which, taken[k] what it took. */
int diemcau_spread_among(const int *fds, const uint64_t *numbers, const uint32_t *at, int seats,
                         const uint8_t *hears, const uint64_t *clear, int clear_size,
                         const char *data, uint32_t size, uint32_t *short_of, uint32_t *taken)
{
    struct out out = {.short_of = short_of, .taken = taken};
    for (int i = 0; i < seats; i++) {
        if (!hears[at[i]])
            continue;
        if (fds[i] >= 0 && fds[i] < clear_size && clear[fds[i]] == numbers[i])
            post(&out, fds[i], data, size, i);
        else
            fell_short(&out, i, 0);
    }
    go(&out);
    return out.found;
}
