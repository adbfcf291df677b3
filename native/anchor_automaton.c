/* The search for all words at once: Aho and Corasick, 1975. */
#include "anchor_bytes.h"
#include "anchors.h"

int mpp_automaton_build(struct mpp_automaton *automaton, uint32_t words_size)
{
    struct mpp_automaton *a = automaton;
    uint32_t states = 1, classes = 1, head, tail;
    uint32_t *queue = a->link; /* the queue uses the memory of the links, which are computed after its last use */

    memset(a->class_of, 0, sizeof a->class_of);
    for (uint32_t n = 0; n < a->needle_count; n++) {
        const struct mpp_needle *needle = &a->needles[n];

        if (needle->length == 0 || needle->length > MPP_NEEDLE_MAX || needle->offset > words_size ||
            needle->length > words_size - needle->offset || needle->twin > n)
            return -1;
        for (uint32_t i = 0; i < needle->length; i++) {
            uint8_t c = lower(a->words[needle->offset + i]);

            if (a->class_of[c] == 0) a->class_of[c] = (uint8_t)classes++;
        }
    }
    for (uint32_t c = 'A'; c <= 'Z'; c++) a->class_of[c] = a->class_of[c | 0x20];
    a->classes = classes;
    if (a->state_room == 0 || a->next_room / classes < a->state_room || a->next_room >= MPP_ENDS) return -1;
    memset(a->next, 0, (size_t)a->next_room * sizeof *a->next);
    memset(a->output, 0, (size_t)a->state_room * sizeof *a->output);
    memset(a->fail, 0, (size_t)a->state_room * sizeof *a->fail);

    for (uint32_t n = 0; n < a->needle_count; n++) {
        const struct mpp_needle *needle = &a->needles[n];
        uint32_t state = 0;

        for (uint32_t i = 0; i < needle->length; i++) {
            uint32_t *next = &a->next[state * classes + a->class_of[a->words[needle->offset + i]]];

            if (*next == 0) {
                if (states >= a->state_room) return -1;
                *next = states++;
            }
            state = *next;
        }
        a->output[state] = n + 1; /* its twins are found through the needle */
    }
    a->state_count = states;

    /* Breadth first. Where a word does not continue, continue with its longest suffix that is the start of another
     * word. */
    head = tail = 0;
    for (uint32_t c = 0; c < classes; c++)
        if (a->next[c] != 0) queue[tail++] = a->next[c];
    while (head < tail) {
        uint32_t state = queue[head++];

        for (uint32_t c = 0; c < classes; c++) {
            uint32_t *next = &a->next[state * classes + c];
            uint32_t otherwise = a->next[a->fail[state] * classes + c];

            if (*next != 0) {
                a->fail[*next] = otherwise;
                queue[tail++] = *next;
            } else {
                *next = otherwise;
            }
        }
    }
    /* The queue is not needed any more. The links are computed by following the chains of suffixes, without an order by
     * depth. */
    for (uint32_t state = 0; state < states; state++) {
        uint32_t suffix = a->fail[state];

        while (suffix != 0 && a->output[suffix] == 0) suffix = a->fail[suffix];
        a->link[state] = suffix;
    }
    /* States as offsets into next, so that a step is one read. */
    for (uint32_t i = 0; i < states * classes; i++) {
        uint32_t state = a->next[i];

        a->next[i] = state * classes | (a->output[state] != 0 || a->link[state] != 0 ? MPP_ENDS : 0);
    }
    return 0;
}
