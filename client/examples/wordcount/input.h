/* The input: one file, cut into one range per source, and each range into blocks, so that no
 * word is ever cut. The cuts depend on the file and the number of sources alone, so that every
 * attempt finds the same ones. */
#ifndef WORDCOUNT_INPUT_H
#define WORDCOUNT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_MAX (256u << 10) /* longest block, and so the longest word */

struct input_file {
    int fd;
    uint64_t size;
};

/* 0, or -1 with errno set. */
int input_file_open(struct input_file *in, const char *path);
void input_file_close(struct input_file *in);
/* Where range i of n begins; range i ends where i + 1 begins, the last at the end of the file.
 * 0, or -1 with errno set. */
int input_cut(const struct input_file *in, uint32_t i, uint32_t n, uint64_t *ret);
/* Reads a block of whole words from offset at; max: its size at most, if no word is longer.
 * buf has BLOCK_MAX bytes. 0, or -1 with errno set: EFBIG for a word longer than BLOCK_MAX, ENODATA
 * for a file that has become shorter. */
int input_block(const struct input_file *in, uint64_t at, uint64_t end, uint32_t max, uint8_t *buf,
                uint32_t *ret_len);

#endif
