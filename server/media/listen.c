/* The compiled way of listening.py: what a receiver sends (RTCP), done with where nobody has to look at it.
 *
 * What is taken apart here is authentic but believed in nothing: every length is checked.
 */
#include <stdint.h>

#define REPORTS_PER_S 50
#define REPORTS_BURST 50
#define SENDER_REPORT 200
#define DESCRIPTION 202 /* receivers' reports are between */
#define EXTENDED_REPORT 207
#define TRANSPORT_WIDE 0x8F /* version 2, format 15 */
#define TRANSPORT_FEEDBACK 205
#define FCI_AT 12
#define FCI_BYTES 8

enum { DONE, FELL };

struct estimator;

/* bandwidth.c: a report of what has arrived. Is the budget less than before? */
int diemcau_report(struct estimator *estimator, const uint8_t *fci, int size, double now_s);

struct ear {
    struct estimator *estimator;
    const uint8_t *told; /* does the estimator know the line? Then receivers' reports tell nothing more */
    double left, at_s;   /* of what may be read, as limits.Allowance */
    uint32_t packets;    /* done with here */
};

/* As limits.Allowance.take(1). */
static int allowed(struct ear *e, double now_s) {
    if (now_s > e->at_s) {
        double left = e->left + (now_s - e->at_s) * REPORTS_PER_S;
        e->left = left < REPORTS_BURST ? left : REPORTS_BURST;
        e->at_s = now_s;
    }
    if (e->left < 1)
        return 0;
    e->left -= 1;
    return 1;
}

/* Is it of reports alone that a sender or receiver makes about streams, whole ones? */
static int only_reports(const uint8_t *packet, int size) {
    int at = 0;
    while (at + 4 <= size) {
        int kind = packet[at + 1];
        if (packet[at] >> 6 != 2 || kind < SENDER_REPORT ||
            (kind > DESCRIPTION && kind != EXTENDED_REPORT))
            return 0;
        at += 4 + 4 * (packet[at + 2] << 8 | packet[at + 3]);
    }
    return at == size;
}

/* A plain packet: DONE; FELL: done, and the budget is less than before; else its size, for somebody has to
 * look at it. */
int diemcau_listen(struct ear *e, const uint8_t *packet, int size, double now_s) {
    if (size >= FCI_AT + FCI_BYTES && packet[0] == TRANSPORT_WIDE &&
        packet[1] == TRANSPORT_FEEDBACK && size == 4 + 4 * (packet[2] << 8 | packet[3])) {
        e->packets++;
        if (!allowed(e, now_s))
            return DONE;
        return diemcau_report(e->estimator, packet + FCI_AT, size - FCI_AT, now_s) ? FELL : DONE;
    }
    if (*e->told && only_reports(packet, size)) {
        e->packets++;
        return DONE;
    }
    return size;
}
