/* Checks whether a message is a plan: the parent checks before it clones, and init checks again when it has received
 * the message. This check guarantees that everything that is read from a plan later lies inside the message. Uses no C
 * library. */
#include "sound.h"

#include "contract.h"

static int span_fits(struct mpp_span span, size_t width, size_t align, uint32_t size)
{
    return span.offset % align == 0 && span.offset <= size && span.count <= (size - span.offset) / width;
}

static int text_fits(uint32_t offset, uint32_t size)
{
    return offset < size; /* the message ends in NUL, so every text ends inside it */
}

static int is_family(uint32_t family)
{
    return family == 2 || family == 10; /* AF_INET, AF_INET6 */
}

static int texts_fit(const uint8_t *message, struct mpp_span span, const char **texts)
{
    const struct mpp_plan *plan = (const void *)message;
    const uint32_t *offsets = (const void *)(message + span.offset);

    for (uint32_t i = 0; i < span.count; i++) {
        if (!text_fits(offsets[i], plan->size)) return 0;
        if (texts != NULL) texts[i] = (const char *)(message + offsets[i]);
    }
    if (texts != NULL) texts[span.count] = NULL; /* an earlier message may have had more texts */
    return 1;
}

/* The owner is trusted, but a message that was cut short, or laid out by another version, is not. */
int plan_is_sound(const uint8_t *message, size_t received, const char **arguments, const char **variables)
{
    const struct mpp_plan *plan = (const void *)message;
    const struct mpp_entry *entries;
    const struct mpp_rule *rules;
    const struct mpp_stream *streams;
    const struct mpp_address *addresses;
    uint32_t size;

    if (received < sizeof *plan || received > MPP_PLAN_MAX) return 0;
    if (plan->magic != MPP_PLAN_MAGIC || plan->size != received) return 0;
    size = plan->size;
    if (message[size - 1] != 0) return 0;
    if (!span_fits(plan->entries, sizeof *entries, 8, size) || !span_fits(plan->rules, sizeof *rules, 8, size) ||
        !span_fits(plan->limits, sizeof(struct mpp_rlimit), 8, size) || !span_fits(plan->filter, 8, 8, size) ||
        !span_fits(plan->guard, 8, 8, size) || !span_fits(plan->watch, 8, 8, size) ||
        !span_fits(plan->argv, 4, 4, size) || !span_fits(plan->envp, 4, 4, size) ||
        !span_fits(plan->streams, sizeof *streams, 8, size) || !span_fits(plan->addresses, sizeof *addresses, 8, size))
        return 0;
    if (plan->late > plan->entries.count) return 0;
    if (plan->streams.count > MPP_STREAMS_MAX || plan->addresses.count > MPP_ADDRESSES_MAX) return 0;
    streams = (const void *)(message + plan->streams.offset);
    for (uint32_t i = 0; i < plan->streams.count; i++)
        if (!is_family(streams[i].family) || streams[i].port == 0 || streams[i].port > 65535) return 0;
    addresses = (const void *)(message + plan->addresses.offset);
    for (uint32_t i = 0; i < plan->addresses.count; i++)
        if (!is_family(addresses[i].family)) return 0;
    if (plan->argv.count == 0 || plan->argv.count > MPP_ARGS_MAX || plan->envp.count > MPP_ARGS_MAX) return 0;
    if (!text_fits(plan->exec_path, size) || !text_fits(plan->working_directory, size) ||
        !text_fits(plan->host_name, size))
        return 0;
    entries = (const void *)(message + plan->entries.offset);
    for (uint32_t i = 0; i < plan->entries.count; i++)
        if (!text_fits(entries[i].source, size) || !text_fits(entries[i].target, size) || entries[i].data > size ||
            entries[i].data_size > size - entries[i].data)
            return 0;
    rules = (const void *)(message + plan->rules.offset);
    for (uint32_t i = 0; i < plan->rules.count; i++)
        if (!text_fits(rules[i].path, size)) return 0;
    return texts_fit(message, plan->argv, arguments) && texts_fit(message, plan->envp, variables);
}
