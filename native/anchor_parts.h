/* The parts of the pass over a text, and the sink that they write to. */
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

/* Whether the text around `word` at `at` meets the needle's conditions. */
int mpp_word_counts(const struct mpp_needle *needle, const uint8_t *word, const uint8_t *text, uint32_t size,
                    uint32_t at);

/* Forms of numbers. mpp_on_digit is called for each digit. mpp_on_digits is called for the first digit of a run, and
 * returns the end of the run. The others are called for each of the characters that occur in numbers and addresses. */
void mpp_on_digit(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
uint32_t mpp_on_digits(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_colon(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_separator(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_stop(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_plus(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);

/* Runs of letters and digits. Each function is called for the first character of a run, and returns the end of the
 * run. */
uint32_t mpp_on_word(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
uint32_t mpp_on_token(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);

/* Places where a text can be read in another way. The functions are called for each digit, for each control character,
 * and for each character that starts an escape or markup. */
void mpp_on_meeting(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_control(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_escape(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);
void mpp_on_markup(const uint8_t *text, uint32_t size, uint32_t at, struct sink *sink);

#pragma GCC visibility pop

#endif
