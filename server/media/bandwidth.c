/* The compiled way of bandwidth.py: what one receiver's line carries, decided with each of its reports.
 *
 * The same arithmetic as there and in losses.py, in the same order, so that both ways give the same numbers;
 * names and reasons are told there.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "flight.h"

#define START_BPS 1500000
#define MIN_BPS 60000
#define MAX_BPS 40000000
#define QUEUE_S 0.025
#define STANDING_S 0.15
#define EMPTY_S 0.05
#define SHORT 0.95
#define LONGER_PARTS 3
#define LONGER_PART_S 1.0
#define LONGER_WITHIN_S 0.01
#define LOSSLESS 0.02
#define CLEAR_WEIGHT 0.02
#define BETA 0.85
#define DRAIN_BETA 0.7
#define SPARSE 0.5
#define GROWTH_PER_S 1.08
#define NEAR_GROWTH_PER_S 1.02
#define HEADROOM 1.5
#define HEADROOM_BPS 30000
#define QUEUED_S 0.25
#define RTT_WEIGHT 0.2
#define SETTLE_S 0.25
#define SILENCE_S 1.0
#define TICK_S 0.25
#define LOST_IN_SILENCE 0.1
#define PROBE_S 0.2
#define PROBE_FACTOR 1.6
#define PROBE_AFTER_SUCCESS_S 0.8
#define PROBE_ON_S 0.1
#define PROBE_AFTER_CUT_S 1.2
#define PROBE_AFTER_FAILURE_S 2.5
#define PROBE_LATEST_S 5.0
#define WINDOW_S 0.5         /* of flight.c */
#define TREND_S (5 * 0.05)   /* its BINS * BIN_S */
#define MAX_COUNTS 128       /* a power of two; reports that losses are counted over, at most */
#define LOSS_HIGH 0.10
#define LOSS_S 1.5
#define MIN_COUNTED 25
#define OWN_LOSS_S 30.0

enum { START, GROWTH, PROBE, DELAY, LOSS, SILENCE }; /* bandwidth.REASONS */

struct estimate { /* what Python reads; attributes of bandwidth.Plain */
    double rtt_s;
    int64_t estimate_bps, delivered_bps, link_bps, blind_bps, lost, counted;
    int32_t reason;
    uint8_t heard, silent;
};

struct losses {
    struct { double at_s; int32_t lost, total; } counts[MAX_COUNTS];
    uint32_t begin, end; /* counted up, masked in use */
    int64_t lost, total;
    double own, own_until_s;
    double before_cut; /* negative: none */
};

struct estimator {
    struct estimate estimate;
    struct flight *flight;
    struct state *state; /* of it */
    struct losses losses;
    double cut_at_s, ticked_at_s, unheard_since_s, unheard_for_s;
    double waits_s[LONGER_PARTS]; /* the latest last */
    int wait_count;
    double part_until_s, clear_loss, grown_at_s;
    double probe_until_s, probe_at_s, probe_wait_s;
    int64_t probe_bps; /* of the probe under way; 0: none */
    int sparse;
};

static double least(double a, double b) { return b < a ? b : a; }
static double most(double a, double b) { return b > a ? b : a; }
static int64_t at_most(int64_t a, int64_t b) { return b < a ? b : a; }
static int64_t rounded(double x) { return (int64_t)rint(x); } /* half to even, as Python's */

unsigned long diemcau_estimator_bytes(void) { return sizeof(struct estimator); }

struct estimate *diemcau_estimator_open(struct estimator *e, struct flight *flight, double now_s) {
    memset(e, 0, sizeof *e);
    e->flight = flight;
    e->state = diemcau_flight_state(flight);
    e->estimate.estimate_bps = START_BPS;
    e->estimate.link_bps = MAX_BPS;
    e->estimate.rtt_s = 0.1;
    e->estimate.reason = START;
    e->losses.own_until_s = -INFINITY;
    e->losses.before_cut = -1;
    e->cut_at_s = e->ticked_at_s = e->part_until_s = e->grown_at_s = now_s;
    e->unheard_since_s = -1;
    e->probe_at_s = now_s + 0.3;
    e->probe_wait_s = PROBE_AFTER_FAILURE_S;
    return &e->estimate;
}

/* Losses. */

static void restart_losses(struct losses *l) {
    l->begin = l->end;
    l->lost = l->total = 0;
}

static void count_losses(struct losses *l, int32_t lost, int32_t total, double now_s) {
    if (l->end - l->begin == MAX_COUNTS) {
        l->lost -= l->counts[l->begin & (MAX_COUNTS - 1)].lost;
        l->total -= l->counts[l->begin++ & (MAX_COUNTS - 1)].total;
    }
    uint32_t at = l->end++ & (MAX_COUNTS - 1);
    l->counts[at].at_s = now_s;
    l->counts[at].lost = lost;
    l->counts[at].total = total;
    l->lost += lost;
    l->total += total;
    while (l->begin != l->end && l->counts[l->begin & (MAX_COUNTS - 1)].at_s < now_s - LOSS_S) {
        l->lost -= l->counts[l->begin & (MAX_COUNTS - 1)].lost;
        l->total -= l->counts[l->begin++ & (MAX_COUNTS - 1)].total;
    }
}

static double fraction(const struct losses *l, double deviations) {
    if (l->lost <= 0 || l->total < MIN_COUNTED)
        return 0;
    double lost = (double)l->lost;
    return most(0, lost + deviations * sqrt(lost)) / (double)l->total;
}

static int excessive(const struct losses *l, double now_s) {
    if (l->lost <= 0)
        return 0;
    double own = now_s < l->own_until_s ? l->own : 0;
    return fraction(l, -1) > most(LOSS_HIGH, own * 1.2 + 0.03);
}

static int congested(struct losses *l, double now_s) {
    double before = l->before_cut;
    if (!excessive(l, now_s)) {
        if (before >= 0 && l->total >= MIN_COUNTED && fraction(l, 2) < before / 2)
            l->before_cut = -1;
        return 0;
    }
    if (before >= 0 && fraction(l, 1) > before * 0.67) {
        l->own = fraction(l, 0);
        l->own_until_s = now_s + OWN_LOSS_S;
        l->before_cut = -1;
        return 0;
    }
    l->before_cut = fraction(l, 0);
    return 1;
}

double diemcau_loss(const struct estimator *e) { return fraction(&e->losses, 0); }

/* Deciding. */

static int64_t budget(const struct estimator *e) {
    return e->estimate.silent ? MIN_BPS : e->estimate.estimate_bps;
}

static void set(struct estimator *e, int64_t bps, int reason) {
    e->estimate.estimate_bps = bps < MIN_BPS ? MIN_BPS : at_most(bps, MAX_BPS);
    e->estimate.reason = reason;
}

static void wake(struct estimator *e, double now_s, int lost) {
    e->estimate.silent = 0;
    restart_losses(&e->losses);
    set(e, lost ? e->estimate.estimate_bps / 2 : e->estimate.estimate_bps, START);
    e->cut_at_s = now_s;
    e->probe_at_s = now_s + PROBE_AFTER_SUCCESS_S;
}

static int64_t queued_bps(const struct estimator *e) {
    double late = (double)diemcau_arrived_within(e->flight, QUEUED_S);
    return at_most(e->estimate.delivered_bps, rounded(late * 8 / QUEUED_S));
}

static void probe_later(struct estimator *e, double now_s) {
    e->probe_at_s = now_s + e->probe_wait_s;
    e->probe_wait_s = least(PROBE_LATEST_S, e->probe_wait_s * 1.5);
}

static int sends_little(const struct estimator *e) {
    double sent_bps = (double)diemcau_sent_within(e->flight, WINDOW_S) * 8 / WINDOW_S;
    return sent_bps < SPARSE * (double)e->estimate.estimate_bps;
}

static int64_t kept_bps(const struct estimator *e, int standing) {
    if (!(e->probe_bps ? e->sparse : sends_little(e)))
        return 0;
    double share = e->probe_bps && !standing ? BETA : SPARSE;
    return rounded(share * (double)e->estimate.estimate_bps);
}

static void cut(struct estimator *e, int64_t bps, int reason, double now_s) {
    e->estimate.link_bps = -at_most(-bps, -queued_bps(e));
    set(e, bps, reason);
    e->cut_at_s = now_s;
    diemcau_count_anew(e->flight);
    restart_losses(&e->losses);
    e->wait_count = 0;
    e->probe_at_s = now_s + PROBE_AFTER_CUT_S;
    if (e->probe_bps) {
        e->probe_bps = 0;
        probe_later(e, now_s);
    }
}

static void grow(struct estimator *e, double now_s) {
    double estimate_bps = (double)e->estimate.estimate_bps;
    double elapsed_s = least(0.5, now_s - e->grown_at_s);
    int near = estimate_bps > BETA * (double)e->estimate.link_bps;
    double grown_bps = estimate_bps * pow(near ? NEAR_GROWTH_PER_S : GROWTH_PER_S, elapsed_s);
    double ceiling_bps = most((double)e->estimate.blind_bps,
                              HEADROOM * (double)e->estimate.delivered_bps + HEADROOM_BPS);
    grown_bps = least(grown_bps, ceiling_bps);
    if (grown_bps > estimate_bps)
        set(e, rounded(grown_bps), GROWTH);
}

static void probed(struct estimator *e, double now_s) {
    int64_t target_bps = e->probe_bps;
    e->probe_bps = 0;
    if (e->state->overused && e->state->queue_s > QUEUE_S) {
        int64_t carried_bps = rounded(BETA * (double)queued_bps(e));
        set(e, -at_most(-e->estimate.estimate_bps, -carried_bps), PROBE);
        probe_later(e, now_s);
        return;
    }
    if (!excessive(&e->losses, now_s) && target_bps > e->estimate.estimate_bps) {
        set(e, target_bps, PROBE);
        if ((double)target_bps > 1.2 * (double)e->estimate.link_bps)
            e->estimate.link_bps = MAX_BPS;
    }
    e->probe_wait_s = PROBE_AFTER_FAILURE_S;
    e->probe_at_s = now_s + (e->sparse ? PROBE_ON_S : PROBE_AFTER_SUCCESS_S);
}

static int falls_short(const struct estimator *e) {
    double kept = (1 - fraction(&e->losses, 0)) / (1 - e->clear_loss);
    return kept / (1 + e->state->rise_s / TREND_S) < SHORT;
}

static int stays_longer(const struct estimator *e) {
    if (e->wait_count < LONGER_PARTS)
        return 0;
    double low_s = e->waits_s[0], high_s = e->waits_s[0];
    for (int i = 1; i < LONGER_PARTS; i++) {
        low_s = least(low_s, e->waits_s[i]);
        high_s = most(high_s, e->waits_s[i]);
    }
    return high_s - low_s < LONGER_WITHIN_S && low_s > QUEUE_S;
}

static void follow_way(struct estimator *e, double now_s) {
    double floor_s = e->state->floor_s;
    if (floor_s < QUEUE_S)
        e->clear_loss += (fraction(&e->losses, 0) - e->clear_loss) * CLEAR_WEIGHT;
    else if (fraction(&e->losses, -1) > LOSSLESS + 1.5 * e->clear_loss)
        e->wait_count = 0;
    if (!e->wait_count || now_s >= e->part_until_s) {
        if (stays_longer(e)) {
            diemcau_rebase(e->flight);
            floor_s = 0;
        }
        if (e->wait_count == LONGER_PARTS)
            memmove(e->waits_s, e->waits_s + 1, (LONGER_PARTS - 1) * sizeof *e->waits_s);
        else
            e->wait_count++;
        e->waits_s[e->wait_count - 1] = floor_s;
        e->part_until_s = now_s + LONGER_PART_S;
    }
    double *latest_s = &e->waits_s[e->wait_count - 1];
    *latest_s = least(*latest_s, floor_s);
}

static void decide(struct estimator *e, double now_s) {
    const struct state *state = e->state;
    int settled = now_s - e->cut_at_s > e->estimate.rtt_s + SETTLE_S;
    int standing = state->floor_s > STANDING_S;
    int queued = standing || (state->overused && state->floor_s > QUEUE_S);
    if (settled && queued && falls_short(e)) {
        int64_t left_bps = rounded((standing ? DRAIN_BETA : BETA) * (double)queued_bps(e));
        if (!e->probe_bps)
            left_bps = at_most(left_bps, e->estimate.estimate_bps);
        cut(e, -at_most(-left_bps, -kept_bps(e, standing)), DELAY, now_s);
    } else if (settled && congested(&e->losses, now_s)) {
        int64_t left_bps = rounded(0.95 * (double)e->estimate.delivered_bps);
        cut(e, at_most(left_bps, e->estimate.estimate_bps), LOSS, now_s);
    } else if (e->probe_bps && now_s > e->probe_until_s + e->estimate.rtt_s) {
        probed(e, now_s);
    } else if (!state->draining && state->floor_s < EMPTY_S) {
        grow(e, now_s);
    }
    e->grown_at_s = now_s;
    follow_way(e, now_s);
}

/* A report of the receiver; nothing where it is malformed. Is the budget less than before? */
int diemcau_report(struct estimator *e, const uint8_t *fci, int size, double now_s) {
    int64_t before_bps = budget(e);
    const struct state *state = e->state;
    if (!diemcau_hear(e->flight, fci, size, e->estimate.silent))
        return 0;
    if (e->estimate.silent && state->arrived)
        wake(e, now_s, state->lost > LOST_IN_SILENCE * state->arrived);
    count_losses(&e->losses, state->lost, state->total, now_s);
    e->estimate.lost += state->lost;
    e->estimate.counted += state->total;
    if (state->unheard_since_s < 0 && (state->arrived || e->estimate.heard)) {
        e->estimate.delivered_bps = rounded((double)state->arrived_bytes * 8 / WINDOW_S);
        e->estimate.heard = 1;
        e->estimate.rtt_s += (now_s - state->newest_sent_s - e->estimate.rtt_s) * RTT_WEIGHT;
    }
    decide(e, now_s);
    return budget(e) < before_bps;
}

void diemcau_tick(struct estimator *e, double now_s) {
    double since_s = e->state->unheard_since_s;
    double for_s = e->unheard_for_s + least(now_s - e->ticked_at_s, TICK_S);
    e->unheard_for_s = since_s == e->unheard_since_s ? for_s : 0;
    e->unheard_since_s = since_s;
    e->ticked_at_s = now_s;
    if (since_s >= 0 && e->unheard_for_s > SILENCE_S + e->estimate.rtt_s) {
        e->estimate.silent = 1;
        e->estimate.reason = SILENCE;
        e->probe_bps = 0;
    }
}

int64_t diemcau_probe(struct estimator *e, int64_t wanted_bps, double now_s) {
    if (e->probe_bps)
        return now_s < e->probe_until_s ? e->probe_bps : 0;
    int64_t estimate_bps = e->estimate.estimate_bps, delivered_bps = e->estimate.delivered_bps;
    int quiet = !(e->estimate.silent || e->state->overused || e->state->floor_s > EMPTY_S);
    if (wanted_bps <= estimate_bps || now_s < e->probe_at_s || !quiet)
        return 0;
    double now_bps = (double)(delivered_bps > estimate_bps ? delivered_bps : estimate_bps);
    int64_t target_bps = at_most(rounded(now_bps * PROBE_FACTOR), rounded((double)wanted_bps * 1.1));
    e->probe_bps = at_most(target_bps, MAX_BPS);
    e->probe_until_s = now_s + PROBE_S;
    e->sparse = sends_little(e);
    return e->probe_bps;
}
