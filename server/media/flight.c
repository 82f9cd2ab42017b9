/* The compiled way of flight.py: packets on their way to one receiver, and what its reports say.
 *
 * The same arithmetic as there and in delays.py, in the same order, so that both ways give the same
 * numbers; names and reasons are told there. A report comes from the network: it is taken apart
 * whole (`dissect`) before anything is believed, and every index into the rings is masked.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "flight.h"

#define RING 4096 /* a power of two */
#define MAX_STATUSES 4096
#define FIRST 65536
#define DELTA_S 250e-6
#define REFERENCE_S 0.064
#define CLOCK_S (REFERENCE_S * (1 << 24))
#define WINDOW_S 0.5
#define GROUP_S 0.005
#define MAX_BURST_S 0.1
#define POINTS 20
#define SMOOTHING 0.9
#define GAIN 4.0
#define MAX_TREND_GROUPS 60
#define THRESHOLD_MS 12.5
#define LOW_MS 6.0
#define HIGH_MS 600.0
#define THRESHOLD_UP 0.0087
#define THRESHOLD_DOWN 0.039
#define OVERUSE_S 0.01
#define PARTS 6
#define PART_S 10.0
#define BINS 5
#define BIN_S 0.05

enum { LOST, SMALL, LARGE };

struct sent {
    double at_s;
    uint32_t number;
    uint16_t size;
    uint8_t awaited;
};

struct arrival {
    double at_s;
    uint32_t size;
};

struct group { /* of packets sent within GROUP_S, or read together */
    double first_sent_s, last_sent_s, arrived_s, first_arrived_s;
};

struct delays {
    double queue_s, least_s, part_until_s, parts[PARTS];
    int part_count, part_at;
    double bins[2 * BINS], bin_until_s;
    int bin_count, bin_at;
    struct group group, before;
    int has_group, has_before, groups;
    double sum_ms, smooth_ms, threshold_ms, trend;
    struct { double x_s, y_ms; } points[POINTS];
    int point_count, point_at;
    double over_since_s, at_s;
    int over, has_at, overused, draining;
};

struct flight {
    struct state state;
    int64_t next, newest, counted_from;
    double clock_s;
    int has_clock;
    uint32_t arrivals_begin, arrivals_end; /* counted up, masked in use */
    struct delays delays;
    struct sent sent[RING];
    struct arrival arrivals[RING];
};

unsigned long diemcau_flight_bytes(void) { return sizeof(struct flight); }

static void restart_delays(struct delays *d) {
    double threshold_ms = d->threshold_ms < THRESHOLD_MS ? d->threshold_ms : THRESHOLD_MS;
    memset(d, 0, sizeof *d);
    d->threshold_ms = threshold_ms;
    d->least_s = INFINITY;
    d->part_until_s = d->bin_until_s = -INFINITY;
}

struct state *diemcau_flight_open(void *memory) {
    struct flight *f = memory;
    memset(f, 0, sizeof *f);
    f->next = FIRST;
    f->newest = FIRST - 1;
    f->state.unheard_since_s = -1;
    f->delays.threshold_ms = THRESHOLD_MS;
    restart_delays(&f->delays);
    return &f->state;
}

struct state *diemcau_flight_state(struct flight *f) { return &f->state; }

uint16_t diemcau_sent(struct flight *f, int size, double now_s) {
    struct sent *sent = &f->sent[f->next & (RING - 1)];
    sent->at_s = now_s;
    sent->number = (uint32_t)f->next;
    sent->size = (uint16_t)size;
    sent->awaited = 1;
    if (f->state.unheard_since_s < 0)
        f->state.unheard_since_s = now_s;
    return (uint16_t)f->next++;
}

void diemcau_count_anew(struct flight *f) { f->counted_from = f->next; }

/* Delays. */

static void quicker(struct delays *d, double sent_s, double delay_s) {
    if (sent_s > d->part_until_s) {
        d->part_at = (d->part_at + 1) % PARTS;
        d->parts[d->part_at] = delay_s;
        d->part_count += d->part_count < PARTS;
        d->part_until_s = sent_s + PART_S;
    }
    if (delay_s < d->parts[d->part_at])
        d->parts[d->part_at] = delay_s;
    d->least_s = INFINITY;
    for (int i = 0; i < d->part_count; i++) {
        double part = d->parts[(d->part_at + PARTS - i) % PARTS];
        if (part < d->least_s)
            d->least_s = part;
    }
}

static void sort_into_bin(struct delays *d, double arrived_s, double delay_s) {
    if (arrived_s > d->bin_until_s) {
        d->bin_at = (d->bin_at + 1) % (2 * BINS);
        d->bins[d->bin_at] = delay_s;
        d->bin_count += d->bin_count < 2 * BINS;
        d->bin_until_s = arrived_s + BIN_S;
    } else if (delay_s < d->bins[d->bin_at]) {
        d->bins[d->bin_at] = delay_s;
    }
}

/* The least of the bins from the `first` latest one to that before `last`. */
static double least_of_bins(const struct delays *d, int first, int last) {
    double least_s = INFINITY;
    for (int i = first; i < last && i < d->bin_count; i++) {
        double bin = d->bins[(d->bin_at + 2 * BINS - i) % (2 * BINS)];
        if (bin < least_s)
            least_s = bin;
    }
    return least_s;
}

static double floor_of(const struct delays *d) {
    return d->bin_count ? least_of_bins(d, 0, BINS) - d->least_s : 0;
}

static double rise_of(const struct delays *d) {
    return d->bin_count > BINS ? least_of_bins(d, 0, BINS) - least_of_bins(d, BINS, 2 * BINS) : 0;
}

static double slope(const struct delays *d) {
    int first = d->point_at; /* the oldest, once there are all */
    double begin_s = d->points[first].x_s, begin_ms = d->points[first].y_ms;
    double sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0;
    for (int i = 0; i < POINTS; i++) {
        double x = d->points[(first + i) % POINTS].x_s - begin_s;
        double y = d->points[(first + i) % POINTS].y_ms - begin_ms;
        sum_x += x;
        sum_y += y;
        sum_xx += x * x;
        sum_xy += x * y;
    }
    double spread = POINTS * sum_xx - sum_x * sum_x;
    return spread > 1e-9 ? (POINTS * sum_xy - sum_x * sum_y) / spread / 1000 : 0;
}

static void adapt(struct delays *d, double modified_ms, double arrived_s) {
    double size_ms = modified_ms < 0 ? -modified_ms : modified_ms;
    if (d->has_at && size_ms <= d->threshold_ms + 15) {
        double gain = size_ms < d->threshold_ms ? THRESHOLD_DOWN : THRESHOLD_UP;
        double elapsed_ms = (arrived_s - d->at_s) * 1000;
        if (elapsed_ms > 100)
            elapsed_ms = 100;
        double moved_ms = d->threshold_ms + gain * (size_ms - d->threshold_ms) * elapsed_ms;
        moved_ms = moved_ms < LOW_MS ? LOW_MS : moved_ms;
        d->threshold_ms = moved_ms > HIGH_MS ? HIGH_MS : moved_ms;
    }
    d->has_at = 1;
    d->at_s = arrived_s;
}

static void change(struct delays *d, double change_ms, double arrived_s) {
    d->groups += d->groups < MAX_TREND_GROUPS;
    d->sum_ms += change_ms;
    d->smooth_ms += (d->sum_ms - d->smooth_ms) * (1 - SMOOTHING);
    d->points[d->point_at].x_s = arrived_s;
    d->points[d->point_at].y_ms = d->smooth_ms;
    d->point_at = (d->point_at + 1) % POINTS;
    d->point_count += d->point_count < POINTS;
    double before = d->trend;
    if (d->point_count == POINTS)
        d->trend = slope(d);
    double modified_ms = d->groups * d->trend * GAIN;
    d->draining = modified_ms < -d->threshold_ms;
    if (modified_ms > d->threshold_ms) {
        if (!d->over) {
            d->over = 1;
            d->over_since_s = arrived_s;
        }
        if (arrived_s - d->over_since_s >= OVERUSE_S && d->trend >= before)
            d->overused = 1;
    } else {
        d->over = d->overused = 0;
    }
    adapt(d, modified_ms, arrived_s);
}

static int bursts(const struct group *group, double sent_s, double arrived_s) {
    double after_s = arrived_s - group->arrived_s;
    return after_s <= GROUP_S && after_s < sent_s - group->last_sent_s &&
           arrived_s - group->first_arrived_s < MAX_BURST_S;
}

static void delayed(struct delays *d, double sent_s, double arrived_s) {
    double delay_s = arrived_s - sent_s;
    if (delay_s < d->least_s || sent_s > d->part_until_s)
        quicker(d, sent_s, delay_s);
    sort_into_bin(d, arrived_s, delay_s);
    d->queue_s += (delay_s - d->least_s - d->queue_s) * 0.1;
    struct group *group = &d->group;
    if (d->has_group && (sent_s - group->first_sent_s <= GROUP_S || bursts(group, sent_s, arrived_s))) {
        group->last_sent_s = sent_s;
        if (arrived_s > group->arrived_s)
            group->arrived_s = arrived_s;
        return;
    }
    if (d->has_group) {
        if (d->has_before) {
            double arrival_s = group->arrived_s - d->before.arrived_s;
            double sending_s = group->last_sent_s - d->before.last_sent_s;
            change(d, (arrival_s - sending_s) * 1000, group->arrived_s);
        }
        d->before = *group;
        d->has_before = 1;
    }
    d->has_group = 1;
    group->first_sent_s = group->last_sent_s = sent_s;
    group->arrived_s = group->first_arrived_s = arrived_s;
}

/* Reports. */

struct report {
    uint16_t first;
    int count;
    double clock_s;
    const uint8_t *deltas;
    uint8_t statuses[MAX_STATUSES];
};

/* Is it a whole report? Then every status is there, and so is the delta of each that has one. */
static int dissect(struct report *report, const uint8_t *fci, int size) {
    if (size < 8)
        return 0;
    int count = fci[2] << 8 | fci[3], known = 0, position = 8;
    if (count > MAX_STATUSES)
        return 0;
    while (known < count && position + 2 <= size) {
        int chunk = fci[position] << 8 | fci[position + 1];
        position += 2;
        int run = chunk & 0x8000 ? (chunk & 0x4000 ? 7 : 14) : chunk & 0x1FFF;
        for (int i = 0; i < run && known < count; i++)
            report->statuses[known++] = (uint8_t)(!(chunk & 0x8000) ? chunk >> 13 & 3
                                                  : chunk & 0x4000  ? chunk >> (12 - 2 * i) & 3
                                                                    : chunk >> (13 - i) & 1);
    }
    if (known < count)
        return 0;
    report->first = (uint16_t)(fci[0] << 8 | fci[1]);
    report->count = count;
    report->clock_s = (double)(fci[4] << 16 | fci[5] << 8 | fci[6]) * REFERENCE_S;
    report->deltas = fci + position;
    for (int i = 0; i < count; i++) {
        if (report->statuses[i] > LARGE)
            return 0;
        position += report->statuses[i]; /* SMALL has one byte, LARGE two */
    }
    return position <= size;
}

static double unwrap(struct flight *f, double arrived_s) {
    double ahead_s = arrived_s - f->clock_s;
    if (f->has_clock && !(-CLOCK_S / 2 < ahead_s && ahead_s < CLOCK_S / 2)) {
        double turns = -ahead_s / CLOCK_S;
        arrived_s += (double)(int64_t)(turns < 0 ? turns - 0.5 : turns + 0.5) * CLOCK_S;
    }
    f->has_clock = 1;
    f->clock_s = arrived_s;
    return arrived_s;
}

static void forget_oldest(struct flight *f) {
    f->state.arrived_bytes -= f->arrivals[f->arrivals_begin++ & (RING - 1)].size;
}

static void arrived(struct flight *f, int64_t number, struct sent *sent, double arrived_s) {
    sent->awaited = 0;
    if (number > f->newest) {
        f->newest = number;
        f->state.newest_sent_s = sent->at_s;
        delayed(&f->delays, sent->at_s, arrived_s);
    }
    f->state.unheard_since_s = -1;
    f->state.arrived++;
    if (f->arrivals_end - f->arrivals_begin == RING)
        forget_oldest(f);
    struct arrival *arrival = &f->arrivals[f->arrivals_end++ & (RING - 1)];
    arrival->at_s = arrived_s;
    arrival->size = sent->size;
    f->state.arrived_bytes += sent->size;
}

static void begin_anew(struct flight *f) {
    f->counted_from = f->next;
    restart_delays(&f->delays);
    f->arrivals_begin = f->arrivals_end;
    f->state.arrived_bytes = 0;
}

static void take(struct flight *f, const struct report *report, int anew) {
    int64_t known_until = f->newest, near = f->next - 1;
    int64_t number = near + ((report->first - near + 0x8000) & 0xFFFF) - 0x8000;
    const uint8_t *delta = report->deltas;
    double clock_s = report->clock_s;
    for (int i = 0; i < report->count; i++, number++) {
        int status = report->statuses[i];
        if (status == SMALL)
            clock_s += delta[0] * DELTA_S;
        else if (status == LARGE)
            clock_s += (int16_t)(delta[0] << 8 | delta[1]) * DELTA_S;
        delta += status;
        struct sent *sent = &f->sent[number & (RING - 1)];
        if (sent->number != (uint32_t)number || !sent->awaited)
            continue;
        if (anew && status != LOST) {
            begin_anew(f);
            anew = 0;
        }
        if (number >= f->counted_from) {
            if (number > known_until) {
                f->state.total++;
                f->state.lost += status == LOST;
            } else if (status != LOST) {
                f->state.lost--; /* it was only late */
            }
        }
        if (status != LOST)
            arrived(f, number, sent, unwrap(f, clock_s));
    }
}

/* 0 where it is no report. `anew`: what came before the first arrival says nothing any more. */
int diemcau_hear(struct flight *f, const uint8_t *fci, int size, int anew) {
    struct report report;
    if (!dissect(&report, fci, size))
        return 0;
    f->state.arrived = f->state.lost = f->state.total = 0;
    take(f, &report, anew);
    if (f->arrivals_begin != f->arrivals_end) {
        double latest_s = f->arrivals[(f->arrivals_end - 1) & (RING - 1)].at_s;
        while (f->arrivals[f->arrivals_begin & (RING - 1)].at_s < latest_s - WINDOW_S)
            forget_oldest(f);
    }
    f->state.queue_s = f->delays.queue_s;
    f->state.floor_s = floor_of(&f->delays);
    f->state.rise_s = rise_of(&f->delays);
    f->state.overused = (uint8_t)f->delays.overused;
    f->state.draining = (uint8_t)f->delays.draining;
    return 1;
}

/* The way has become longer: its quickest packet of late is the quickest there is. */
void diemcau_rebase(struct flight *f) {
    struct delays *d = &f->delays;
    d->least_s += floor_of(d);
    d->part_count = 1;
    d->parts[d->part_at] = d->least_s;
    d->queue_s = 0;
}

int64_t diemcau_arrived_within(const struct flight *f, double seconds) {
    if (f->arrivals_begin == f->arrivals_end)
        return 0;
    double begin_s = f->arrivals[(f->arrivals_end - 1) & (RING - 1)].at_s - seconds;
    int64_t octets = 0;
    for (uint32_t i = f->arrivals_begin; i != f->arrivals_end; i++)
        if (f->arrivals[i & (RING - 1)].at_s > begin_s)
            octets += f->arrivals[i & (RING - 1)].size;
    return octets;
}

int64_t diemcau_sent_within(const struct flight *f, double seconds) {
    int64_t first = f->next - RING > FIRST ? f->next - RING : FIRST, octets = 0;
    double begin_s = f->sent[(f->next - 1) & (RING - 1)].at_s - seconds;
    for (int64_t number = f->next - 1; number >= first; number--) {
        const struct sent *sent = &f->sent[number & (RING - 1)];
        if (sent->at_s <= begin_s)
            break;
        octets += sent->size;
    }
    return octets;
}
