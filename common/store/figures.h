/* SPDX-License-Identifier: Apache-2.0
 *
 * Figures of the event pipeline: how long operations waited between their
 * acceptance and the sink, how long that took, how often they were tried,
 * how large their batches were.  A pass of the sync workers tells them added
 * up in its row of sync_metrics, as a JSON list of lists:
 *
 *     [event type, source number or null, success 0/1, SQLSTATE or null,
 *      the sink's words or null, events, their processing time in all (us),
 *      their queue wait in all (ms), retries in all, mean batch size]
 *
 * The event type is the operation's table; one of its own tables counts as
 * nothing, or each report would be followed by another one.  For the centre
 * the statement FIGURES_REPORT makes ordinary operations of what it has not
 * had: a record of FIGURES_EVENTS_TABLE is {"rows": [[time of the pass (ms),
 * event type, source, ... as above], ...]}, the one record of
 * FIGURES_TEMPLATES_TABLE has a member for each template, one of
 * FIGURES_FEEDBACK_TABLE is {"rows": [...]} of pattern_feedback_log.
 */
#ifndef TIDEMILL_STORE_FIGURES_H
#define TIDEMILL_STORE_FIGURES_H

#define FIGURES_EVENTS_TABLE    "tidemill_events"
#define FIGURES_TEMPLATES_TABLE "tidemill_templates"
#define FIGURES_FEEDBACK_TABLE  "tidemill_feedback"

/* Where rows without a source come from. */
#define FIGURES_OWN_SOURCE "local"

/* Passes, templates and feedback of one report; the rest goes with the next one. */
#define FIGURES_PASSES_MAX    1000
#define FIGURES_TEMPLATES_MAX 1000
#define FIGURES_FEEDBACK_MAX  100 /* it has contracts with it */

#endif
