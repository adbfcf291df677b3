/* The parts of the pass over a text, and what they write to. */
#ifndef MPP_ANCHOR_PARTS_H
#define MPP_ANCHOR_PARTS_H

#include "anchor_bytes.h"
#include "anchors.h"

#pragma GCC visibility push(hidden)

struct sink {
    struct mpp_anchor *found;
    uint32_t count;
    uint32_t room;
};

static inline void add(struct sink *sink, uint32_t at, uint32_t what)
{
    if (sink->count < sink->room) sink->found[sink->count++] = (struct mpp_anchor){ at, what };
}

/* Whether what a needle asks for stands around `word` at `at`. */
int mpp_word_counts(const struct mpp_needle *needle, const uint8_t *word, const uint8_t *text, uint32_t size,
                    uint32_t at);

/* Forms of numbers: the first is told of each digit, the second of the first one of a run and returns where that ends,
 * the others of each of the signs that stand in numbers and addresses. */
void mpp_on_digit(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
uint32_t mpp_on_digits(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_colon(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_separator(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_stop(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_plus(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);

/* Runs of letters and digits: told of the first of each, and returns where the run ends. */
uint32_t mpp_on_word(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
uint32_t mpp_on_token(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);

/* Where a text reads in another way: told of each digit, of each control character, and of what starts markup and
 * escapes. */
void mpp_on_meeting(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_control(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_escape(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_markup(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);

#pragma GCC visibility pop

#endif
