/* The descriptors that init hands to its owner: the listener of a traced tool, and the sockets of a plan with
 * streams. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

int mpp_take_sockets(struct mpp_sandbox *sandbox, const int *sockets, size_t count)
{
    if (!sandbox->launch.parked || sandbox->sockets != NULL) return EPROTO;
    if (count != 1 + (size_t)mpp_plan_of(sandbox)->streams.count) return EPROTO;
    sandbox->sockets = malloc(count * sizeof *sockets);
    if (sandbox->sockets == NULL) return ENOMEM;
    memcpy(sandbox->sockets, sockets, count * sizeof *sockets);
    sandbox->socket_count = count;
    return 0;
}

void mpp_close_sockets(struct mpp_sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox->socket_count; i++) mpp_close(&sandbox->sockets[i]);
    free(sandbox->sockets);
    sandbox->sockets = NULL;
    sandbox->socket_count = 0;
}

size_t mpp_sockets(const struct mpp_sandbox *sandbox, const int **sockets)
{
    *sockets = sandbox != NULL ? sandbox->sockets : NULL;
    return sandbox != NULL ? sandbox->socket_count : 0;
}

ssize_t mpp_receive_report(struct mpp_sandbox *sandbox, struct mpp_report *report)
{
    int descriptors[1 + MPP_STREAMS_MAX];
    size_t most = sizeof descriptors / sizeof descriptors[0];
    size_t count;
    ssize_t got = mpp_receive(sandbox->control, report, sizeof *report, descriptors, most, &count);

    if (got < 0) return got;
    if (got < (ssize_t)sizeof *report) report->kind = MPP_REPORT_NONE;
    if (report->kind == MPP_REPORT_WATCHED && count == 1 && mpp_watcher_wants(sandbox->watcher) &&
        mpp_watcher_take(sandbox->watcher, descriptors[0]) == 0)
        return got;
    if (report->kind == MPP_REPORT_NETWORK && mpp_take_sockets(sandbox, descriptors, count) == 0) return got;
    for (size_t i = 0; i < count; i++) mpp_close(&descriptors[i]);
    /* Descriptors that were not asked for, or that are missing, are treated as the end of the channel. */
    return count > 0 || report->kind == MPP_REPORT_WATCHED || report->kind == MPP_REPORT_NETWORK ? 0 : got;
}
