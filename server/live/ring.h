#include <stdint.h>

/* The next bytes for one socket. */
struct post {
    int fd;
    uint32_t size;
    const char *data;
    uint32_t whose; /* the caller's own number */
};

enum { RING = 64 }; /* posts that go at once: more would stay in no cache until they are sent */

/* Send each of posts (RING at most) without waiting; sent[i] is what posts[i]'s socket took, or
 * minus the error. Returns how many of them, from the first, it did; the rest is the caller's. */
int ring_send(const struct post *posts, int count, int32_t *sent);

/* Whether the kernel lets this thread send so; wanted 0 keeps it from it, for comparison. */
int diemcau_ring(int wanted);
