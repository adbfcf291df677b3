/* Where in a text a value could stand: words that announce one, prefixes of tokens, and the first sign of what is
 * recognised by its form. What is found here is only looked at more closely, by the detectors of mpp_exec.privacy;
 * what is not found here is not looked at.
 *
 * This file is C header and cffi cdef in one, so it has no directives but integer #defines. A text has one byte for
 * each code point, ASCII as itself and everything else as something that is not ASCII, or as '?'. */

/* What has to follow a word, or precede it, for the place to be worth a look. */
#define MPP_NEEDLE_CASE 1     /* it is written exactly like this; any other is found in either case */
#define MPP_NEEDLE_WORD 2     /* no letter before it, unless a hump is (homePhone) */
#define MPP_NEEDLE_WHOLE 4    /* no letter behind it */
#define MPP_NEEDLE_START 8    /* no letter or digit before it, unless an escape ends there */
#define MPP_NEEDLE_TOKEN 16   /* `need` bytes that tokens are made of follow */
#define MPP_NEEDLE_DIGIT 32   /* a digit follows soon, and not at once */
#define MPP_NEEDLE_COLON 64   /* a colon or an equals sign follows, behind a few words that a label may end in */
#define MPP_NEEDLE_ASSIGN 128 /* what assigns follows its label, or spaces and a long word */
#define MPP_NEEDLE_AT 256     /* an at sign follows soon */
#define MPP_NEEDLE_ROLE 512   /* what follows its colon at once, where nothing stands before it, has two words */

#define MPP_ENDS 0x80000000
#define MPP_NEEDLE_MAX 64 /* bytes of a word */
#define MPP_ROOM_MIN 256  /* anchors that there is always room for */

/* Anchors that are no words. What their offset points to is said here; words are numbered behind them. */
enum mpp_form {
    MPP_FORM_AT,        /* the at sign of an e-mail address */
    MPP_FORM_COLONS,    /* a colon of an IPv6 address */
    MPP_FORM_DOTS,      /* the first stop of an IPv4 address */
    MPP_FORM_NANP,      /* the first of ten digits in groups of 3, 3 and 4 */
    MPP_FORM_SPACED,    /* the first of ten to thirteen digits, between which there are spaces */
    MPP_FORM_PLUS,      /* the plus of an international telephone number */
    MPP_FORM_SSN,       /* the first hyphen of digits in groups of 3, 2 and 4 */
    MPP_FORM_DIGITS,    /* the first of twelve or more digits with separators */
    MPP_FORM_PAIRS,     /* the first separator of six pairs of hexadecimal digits */
    MPP_FORM_QUADS,     /* the first stop of three groups of four of them */
    MPP_FORM_IBAN,      /* the first digit behind two letters that an IBAN starts with */
    MPP_FORM_USERINFO,  /* the colon of :// where a user name and a password follow */
    MPP_FORM_USER,      /* the hyphen of an option that is given user:password */
    MPP_FORM_VIN,       /* the first of exactly 17 letters and digits */
    MPP_FORM_WALLET,    /* the first of what is as long as an address of a crypto-currency and starts like one */
    MPP_FORM_DISCORD,   /* the first of three parts with stops of which the middle one has six characters */
    MPP_FORM_BASE64,    /* the first of 16 or more characters that are printable text in base64 */
    MPP_FORM_ESCAPE,    /* an escape of a printable character, of URLs, JSON or HTML */
    MPP_FORM_LOOKALIKE, /* where a digit meets a letter that looks like one */
    MPP_FORM_CONTROL,   /* the first of some control characters: the text reads otherwise without them */
    MPP_FORM_BARE,      /* the first of exactly ten digits, or eleven that start with 1 */
    MPP_FORM_MARKUP,    /* emphasis, an escape or a tag between the characters of what could be a value */
    MPP_FORM_RANDOM,    /* the first of 20 or more letters and digits that are mixed as in no word */
    MPP_FORM_NUMBER,    /* the first of digits that are written as an identifier of a person is */
    MPP_FORM_CODE,      /* the first of letters and digits that are */
    MPP_FORMS
};

struct mpp_needle {
    uint32_t offset; /* of its first byte among the words */
    uint16_t length;
    uint16_t checks; /* MPP_NEEDLE_* */
    uint32_t twin;   /* number + 1 of an earlier needle of the same word, 0 for none */
    uint32_t need;
};

/* What mpp_automaton_build fills in; the caller owns all of the memory and says how much there is. */
struct mpp_automaton {
    const uint8_t *words;
    const struct mpp_needle *needles;
    uint32_t needle_count;
    uint32_t state_room; /* entries of fail, output and link: one more than all words have bytes */
    uint32_t state_count;
    uint32_t next_room; /* entries of next */
    uint32_t classes;
    uint32_t *next;   /* state * classes + class -> the next state * classes, and MPP_ENDS if a word ends there */
    uint32_t *fail;   /* state -> state of its longest proper suffix */
    uint32_t *output; /* state -> number + 1 of the needle that ends there */
    uint32_t *link;   /* state -> state of the next shorter needle that ends there, too */
    uint8_t class_of[256];
};

struct mpp_anchor {
    uint32_t at;
    uint32_t what; /* enum mpp_form, or MPP_FORMS + number of a needle */
};

/* Where a scan stands: all zero at first. */
struct mpp_scan {
    uint32_t at;
    uint32_t state;      /* as in next, without MPP_ENDS */
    uint32_t digits_end; /* how far runs have been read already */
    uint32_t word_end;
    uint32_t token_end;
};

/* 0, or -1: a word is empty, too long or not among the words, or the room is too small. */
int mpp_automaton_build(struct mpp_automaton *automaton, uint32_t words_size);

/* Reads on from where the scan stands up to `end`, or until the room is nearly full; returns how many anchors it has
 * written. The offsets of words that end at the same place are not in order. `size` is at most 2^31. */
uint32_t mpp_scan_text(const struct mpp_automaton *automaton, const uint8_t *text, uint32_t size, uint32_t end,
                       struct mpp_scan *scan, struct mpp_anchor *found, uint32_t room);

/* The same for MPP_FORM_LOOKALIKE and MPP_FORM_CONTROL alone: where a text reads in another way. */
uint32_t mpp_scan_marks(const uint8_t *text, uint32_t size, uint32_t end, struct mpp_scan *scan,
                        struct mpp_anchor *found, uint32_t room);
