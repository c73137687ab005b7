/* SPDX-License-Identifier: Apache-2.0
 *
 * The central queue: what a host that shares it does next.  Pure.
 */
#ifndef TIDEMILL_SYNC_QUEUE_POLICY_H
#define TIDEMILL_SYNC_QUEUE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* Ends and leases of one step. */
#define QUEUE_REPORTS_MOST 12
#define QUEUE_LEASES_MOST  12

enum queue_step {
    QUEUE_REST,
    QUEUE_GIVE_BACK, /* leases there that are not known here */
    QUEUE_RENEW,     /* a heartbeat for all that are held */
    QUEUE_REPORT,    /* ends of jobs */
    QUEUE_LEASE,
    QUEUE_HAND_BACK, /* a host that stops keeps no job that it will not run */
    QUEUE_LEAVE,
};

/* How often a host that stops looks whether its workers are done. */
#define QUEUE_LEAVING_LOOK_MS 50

/* Times are monotonic milliseconds. */
struct queue_facts {
    int64_t now_ms;
    int64_t renew_at_ms; /* the next heartbeat */
    int64_t look_at_ms;  /* the next look into the queue */
    int64_t held;        /* leases, those of jobs that are over among them */
    int64_t over;        /* of these, whose ends are not reported */
    int64_t most;        /* that may be held */
    bool reconciled;     /* this line's leases were compared */
    bool more;           /* the last look found as much as it asked for */
    /* Of a host that stops, and only then: */
    bool leaving;
    bool workers_gone; /* nothing runs any more */
    bool handed_back;  /* here, but the centre was not told */
    int64_t unbegun;   /* of the held: their jobs wait for a worker */
    int64_t begun;     /* a worker has them, or had them last */
};

struct queue_plan {
    enum queue_step step;
    int64_t count;   /* LEASE: how many */
    int64_t wait_ms; /* REST: until there is something to do */
};

/* Heartbeats go before ends, and ends before leases, so that who is busy
 * loses nothing.  A host that found the queue empty looks again when its
 * time has come, one that found more when a quarter of its places is free:
 * not for each job.  A host that stops gives back what has not begun, first
 * here, so that it cannot begin, then there; waits for what runs, with
 * heartbeats, and tells its end; and gives back what its workers left. */
void queue_plan_make(const struct queue_facts *facts, struct queue_plan *plan);

/* Three heartbeats go before a lease runs out. */
int64_t queue_heartbeat_ms(int64_t lease_ms);

/* The longest pause between attempts to reach the queue: a line that was
 * away for a moment must cost no lease. */
int64_t queue_retry_most_ms(int64_t retry_max_ms, int64_t lease_ms);

#endif
