/* The input file and its cuts, see input.h */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "words.h"

int input_file_open(struct input_file *in, const char *path)
{
    struct stat st;
    in->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0) return -1;
    if (fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        in->size = (uint64_t)st.st_size;
        return 0;
    }
    input_file_close(in);
    errno = EINVAL; /* a pipe cannot be read again from an offset */
    return -1;
}

void input_file_close(struct input_file *in)
{
    if (in->fd >= 0) close(in->fd);
    in->fd = -1;
}

/* Reads exactly n bytes. */
static int read_at(const struct input_file *in, uint64_t at, uint8_t *buf, size_t n)
{
    while (n > 0) {
        ssize_t got = pread(in->fd, buf, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) errno = ENODATA;
        if (got <= 0) return -1;
        buf += got, at += (uint64_t)got, n -= (size_t)got;
    }
    return 0;
}

/* From the even share on, the first byte that is not a letter: what follows it, or it itself, is no
 * part of a word that begins before. */
int input_cut(const struct input_file *in, uint32_t i, uint32_t n, uint64_t *ret)
{
    uint8_t buf[4096];
    uint64_t at = i >= n ? in->size : in->size / n * i;
    while (i > 0 && at < in->size) {
        size_t len = in->size - at < sizeof buf ? (size_t)(in->size - at) : sizeof buf;
        size_t k = 0;
        if (read_at(in, at, buf, len)) return -1;
        while (k < len && is_letter(buf[k]))
            k++;
        at += k;
        if (k < len) break;
    }
    *ret = at;
    return 0;
}

int input_block(const struct input_file *in, uint64_t at, uint64_t end, uint32_t max, uint8_t *buf,
                uint32_t *ret_len)
{
    for (;; max = BLOCK_MAX) {
        uint32_t len = end - at < max ? (uint32_t)(end - at) : max;
        if (read_at(in, at, buf, len)) return -1;
        if (at + len < end) /* not the last: what may be a word's beginning is left to the next */
            while (len > 0 && is_letter(buf[len - 1]))
                len--;
        *ret_len = len;
        if (len > 0 || at == end) return 0;
        if (max >= BLOCK_MAX) break;
    }
    errno = EFBIG;
    return -1;
}
