/* flight.c, as bandwidth.c takes it. */
#include <stdint.h>

struct state { /* what Python reads; flight.State */
    double unheard_since_s, queue_s, floor_s, rise_s, newest_sent_s;
    int64_t arrived_bytes;
    int32_t arrived, lost, total;
    uint8_t overused, draining;
};

struct flight;

struct state *diemcau_flight_state(struct flight *flight);
int diemcau_hear(struct flight *flight, const uint8_t *fci, int size, int anew);
void diemcau_count_anew(struct flight *flight);
void diemcau_rebase(struct flight *flight);
int64_t diemcau_arrived_within(const struct flight *flight, double seconds);
int64_t diemcau_sent_within(const struct flight *flight, double seconds);
