/* The compiled way of reading.py: what has come on the UDP socket, all of it by one call. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define DATAGRAMS 128
#define DATAGRAM_BYTES 2048 /* what is longer is cut, as recvfrom does */
#define ADDRESS_BYTES 28    /* of struct sockaddr_in6 */
#define MAX_ERRORS 128      /* of earlier sends, each reported once */

struct datagram {
    uint16_t size, address_size;
    uint8_t address[ADDRESS_BYTES];
};

struct arrivals {
    int fd;
    struct datagram datagrams[DATAGRAMS];
    uint8_t data[DATAGRAMS][DATAGRAM_BYTES];
    struct mmsghdr messages[DATAGRAMS];
    struct iovec vectors[DATAGRAMS];
};

unsigned long diemcau_arrivals_bytes(void) { return sizeof(struct arrivals); }

/* Where datagram after datagram will lie, and what is known of each. */
uint8_t *diemcau_arrivals_open(struct arrivals *a, int fd, struct datagram **datagrams) {
    memset(a, 0, sizeof *a);
    a->fd = fd;
    for (int i = 0; i < DATAGRAMS; i++) {
        a->vectors[i] = (struct iovec){a->data[i], DATAGRAM_BYTES};
        a->messages[i].msg_hdr = (struct msghdr){
            .msg_name = a->datagrams[i].address, .msg_iov = &a->vectors[i], .msg_iovlen = 1};
    }
    *datagrams = a->datagrams;
    return a->data[0];
}

/* How many have come; 0: none (any more). */
int diemcau_receive(struct arrivals *a) {
    for (int i = 0; i < DATAGRAMS; i++)
        a->messages[i].msg_hdr.msg_namelen = ADDRESS_BYTES;
    int count = -1;
    for (int errors = 0; count < 0 && errors < MAX_ERRORS; errors++) {
        count = recvmmsg(a->fd, a->messages, DATAGRAMS, MSG_DONTWAIT, NULL);
        if (count < 0 && (errno == EAGAIN || errno == EBADF || errno == ENOTSOCK))
            return 0;
    }
    for (int i = 0; i < count; i++) {
        a->datagrams[i].size = (uint16_t)a->messages[i].msg_len;
        socklen_t size = a->messages[i].msg_hdr.msg_namelen;
        a->datagrams[i].address_size = size <= ADDRESS_BYTES ? (uint16_t)size : 0;
    }
    return count < 0 ? 0 : count;
}
