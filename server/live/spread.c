/* What is ready for many sockets, sent in one call (spread.py). */
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

int diemcau_version(void) { return 2; }

/* fds[i] gets the next sizes[i] bytes of data or, where all get the same, the first sizes[0].
 * Returns how many did not take all of theirs: short_of[k] is which, taken[k] what it took. */
int diemcau_spread(const int *fds, int count, const uint32_t *sizes, int same, const char *data,
                   uint32_t *short_of, uint32_t *taken)
{
    int found = 0;
    for (int i = 0; i < count; i++) {
        uint32_t size = sizes[same ? 0 : i];
        ssize_t sent = send(fds[i], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent != (ssize_t)size) {
            short_of[found] = i;
            taken[found++] = sent > 0 ? sent : 0;
        }
        if (!same)
            data += size;
    }
    return found;
}

/* All of those seats whose place hears (hears[at[i]]) get data, where clear[] says that descriptor
 * fds[i] still is line numbers[i]'s and nothing waits before. Returns how many did not get all of it,
 * or nothing: short_of[k] is which, taken[k] what it took. */
int diemcau_spread_among(const int *fds, const uint64_t *numbers, const uint32_t *at, int seats,
                         const uint8_t *hears, const uint64_t *clear, int clear_size,
                         const char *data, uint32_t size, uint32_t *short_of, uint32_t *taken)
{
    int found = 0;
    for (int i = 0; i < seats; i++) {
        if (!hears[at[i]])
            continue;
        ssize_t sent = 0;
        if (fds[i] >= 0 && fds[i] < clear_size && clear[fds[i]] == numbers[i])
            sent = send(fds[i], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent != (ssize_t)size) {
            short_of[found] = i;
            taken[found++] = sent > 0 ? sent : 0;
        }
    }
    return found;
}
