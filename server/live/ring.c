/* Sends to many sockets by one call of the kernel: io_uring, used for nothing but that.
 *
 * A call of the kernel costs 1 of the 9 us that a small send to a socket takes where page tables are
 * isolated. Each send is done within the call (MSG_DONTWAIT: never waited for, by nobody else), so
 * that what is sent, its order and its errors are those of send(). Linux 6.1 or later; many a container
 * and kernel.io_uring_disabled forbid it: then nothing is done here. */
#include "ring.h"

#if defined(__linux__) && defined(__has_include)
#if __has_include(<linux/io_uring.h>)
#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

/* The first header that has IORING_OP_SEND. It may be older than the kernel that runs. */
#if !defined(IORING_FEAT_FAST_POLL) || !defined(SYS_io_uring_enter)

int ring_send(const struct post *posts, int count, int32_t *sent) { return 0; }
int diemcau_ring(int wanted) { return 0; }

#else

#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

enum state { UNTRIED, READY, REFUSED };

/* A ring is its thread's alone (IORING_SETUP_SINGLE_ISSUER). */
static _Thread_local struct {
    enum state state;
    int unwanted;
    int fd;
    unsigned *head, *tail, mask; /* of what is asked for; its array says entry i at i */
    struct io_uring_sqe *entries;
    unsigned *done_head, *done_tail, done_mask;
    struct io_uring_cqe *done;
} ring;

static void *map(size_t size, off_t what)
{
    return mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, what);
}

/* A child of fork() shares its parent's ring, and must not touch it. */
static void forget(void) { ring.state = REFUSED; }

static enum state open_ring(void)
{
    struct io_uring_params about;
    memset(&about, 0, sizeof about);
    about.flags =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL;
    ring.fd = syscall(SYS_io_uring_setup, RING, &about);
    if (ring.fd < 0)
        return REFUSED;
    size_t asked_size = about.sq_off.array + about.sq_entries * sizeof(unsigned);
    size_t done_size = about.cq_off.cqes + about.cq_entries * sizeof(struct io_uring_cqe);
    char *asked = map(asked_size, IORING_OFF_SQ_RING);
    char *done = map(done_size, IORING_OFF_CQ_RING);
    void *entries = map(about.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    if (asked == MAP_FAILED || done == MAP_FAILED || entries == MAP_FAILED) {
        close(ring.fd); /* what was mapped stays so: a few pages, once */
        return REFUSED;
    }
    ring.head = (unsigned *)(asked + about.sq_off.head);
    ring.tail = (unsigned *)(asked + about.sq_off.tail);
    ring.mask = *(unsigned *)(asked + about.sq_off.ring_mask);
    ring.entries = entries;
    ring.done_head = (unsigned *)(done + about.cq_off.head);
    ring.done_tail = (unsigned *)(done + about.cq_off.tail);
    ring.done_mask = *(unsigned *)(done + about.cq_off.ring_mask);
    ring.done = (struct io_uring_cqe *)(done + about.cq_off.cqes);
    unsigned *places = (unsigned *)(asked + about.sq_off.array);
    for (unsigned i = 0; i < about.sq_entries; i++)
        places[i] = i;
    pthread_atfork(NULL, NULL, forget);
    return READY;
}

int diemcau_ring(int wanted)
{
    if (ring.state == UNTRIED)
        ring.state = open_ring();
    ring.unwanted = !wanted;
    return ring.state == READY && wanted;
}

static int enter(int asked, int wanted)
{
    int taken;
    do
        taken = syscall(SYS_io_uring_enter, ring.fd, asked, wanted, IORING_ENTER_GETEVENTS, 0, 0);
    while (taken < 0 && errno == EINTR);
    return taken;
}

int ring_send(const struct post *posts, int count, int32_t *sent)
{
    if (ring.state == UNTRIED)
        ring.state = open_ring();
    if (ring.state != READY || ring.unwanted)
        return 0;
    unsigned tail = *ring.tail;
    for (int i = 0; i < count; i++) {
        struct io_uring_sqe *entry = &ring.entries[(tail + i) & ring.mask];
        memset(entry, 0, sizeof *entry);
        entry->opcode = IORING_OP_SEND;
        entry->fd = posts[i].fd;
        entry->addr = (uintptr_t)posts[i].data;
        entry->len = posts[i].size;
        entry->msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
        entry->user_data = i;
    }
    __atomic_store_n(ring.tail, tail + count, __ATOMIC_RELEASE);
    int taken = 0;
    while (taken < count) {
        int more = enter(count - taken, count - taken);
        if (more <= 0) { /* it may be forbidden to enter what could be opened */
            ring.state = REFUSED;
            __atomic_store_n(ring.tail, tail + taken, __ATOMIC_RELEASE);
            break;
        }
        taken += more;
    }
    unsigned head = *ring.done_head;
    for (int done = 0; done < taken; done++, head++) {
        while (head == __atomic_load_n(ring.done_tail, __ATOMIC_ACQUIRE))
            enter(0, 1); /* none waits; but the caller's bytes are the kernel's until it is done */
        const struct io_uring_cqe *what = &ring.done[head & ring.done_mask];
        sent[what->user_data] = what->res;
        if (what->res == -EINVAL || what->res == -EOPNOTSUPP)
            ring.state = REFUSED; /* rings are allowed, sends by them are not */
    }
    __atomic_store_n(ring.done_head, head, __ATOMIC_RELEASE);
    return taken;
}
#endif
