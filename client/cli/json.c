/* JSON, written by hand: the few forms that the answers need. */
#include "client/cli/json.h"

#include <inttypes.h>
#include <string.h>

static void put(struct json *j, const char *text)
{
    tide_buf_put(&j->out, text, strlen(text));
}

static void new_line(struct json *j)
{
    tide_buf_put_u8(&j->out, '\n');
    for (unsigned i = 0; i < j->depth; i++)
        put(j, "  ");
}

/* Length of the well-formed UTF-8 sequence at p, or 0. */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t mask, lead, n;
    } forms[] = {{0x80, 0x00, 1}, {0xe0, 0xc0, 2}, {0xf0, 0xe0, 3}, {0xf8, 0xf0, 4}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if ((p[0] & forms[i].mask) != forms[i].lead) continue;
        if (left < forms[i].n) return 0;
        return tide_text_valid((struct tide_bytes){p, forms[i].n}) ? forms[i].n : 0;
    }
    return 0;
}

static void put_string(struct json *j, struct tide_bytes s)
{
    static const char *const known[0x20] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    tide_buf_put_u8(&j->out, '"');
    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.data[i];
        if (c == '"' || c == '\\') {
            tide_buf_put_u8(&j->out, '\\');
            tide_buf_put_u8(&j->out, c);
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", c);
            put(j, c < 0x20 && known[c] ? known[c] : escape);
            i++;
        } else {
            size_t n = utf8_length(s.data + i, s.len - i);
            if (n)
                tide_buf_put(&j->out, s.data + i, n);
            else
                put(j, "\xef\xbf\xbd");
            i += n ? n : 1;
        }
    }
    tide_buf_put_u8(&j->out, '"');
}

static void member(struct json *j, const char *key)
{
    if (j->filled) put(j, ",");
    new_line(j);
    j->filled = true;
    if (!key) return;
    put_string(j, tide_bytes_of(key));
    put(j, ": ");
}

static void enter(struct json *j, const char *key, const char *bracket)
{
    member(j, key);
    put(j, bracket);
    j->depth++;
    j->filled = false;
}

static void leave(struct json *j, const char *bracket)
{
    j->depth--;
    if (j->filled) new_line(j);
    put(j, bracket);
    j->filled = true;
}

void json_init(struct json *j)
{
    memset(j, 0, sizeof *j);
    tide_buf_init(&j->out, SIZE_MAX / 4);
    put(j, "{");
    j->depth = 1;
}

void json_release(struct json *j)
{
    tide_buf_release(&j->out);
}

int json_print(struct json *j, FILE *out)
{
    leave(j, "}\n");
    if (j->out.rc) return -1;
    return fwrite(j->out.data, 1, j->out.len, out) == j->out.len ? 0 : -1;
}

void json_object(struct json *j, const char *key)
{
    enter(j, key, "{");
}

void json_array(struct json *j, const char *key)
{
    enter(j, key, "[");
}

void json_end_object(struct json *j)
{
    leave(j, "}");
}

void json_end_array(struct json *j)
{
    leave(j, "]");
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    member(j, key);
    put(j, text);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    member(j, key);
    put(j, text);
}

void json_id(struct json *j, const char *key, uint64_t value)
{
    if (value)
        json_u64(j, key, value);
    else
        json_null(j, key);
}

void json_bool(struct json *j, const char *key, bool value)
{
    member(j, key);
    put(j, value ? "true" : "false");
}

void json_null(struct json *j, const char *key)
{
    member(j, key);
    put(j, "null");
}

void json_text(struct json *j, const char *key, const char *value)
{
    member(j, key);
    put_string(j, tide_bytes_of(value));
}

void json_data(struct json *j, const char *key, ProtobufCBinaryData value)
{
    member(j, key);
    put_string(j, (struct tide_bytes){value.data, value.len});
}

void json_text_or_null(struct json *j, const char *key, ProtobufCBinaryData value)
{
    if (value.len)
        json_data(j, key, value);
    else
        json_null(j, key);
}

void json_hex(struct json *j, const char *key, ProtobufCBinaryData value)
{
    static const char digits[] = "0123456789abcdef";
    if (!value.len) {
        json_null(j, key);
        return;
    }
    member(j, key);
    tide_buf_put_u8(&j->out, '"');
    for (size_t i = 0; i < value.len; i++) {
        tide_buf_put_u8(&j->out, (uint8_t)digits[value.data[i] >> 4]);
        tide_buf_put_u8(&j->out, (uint8_t)digits[value.data[i] & 15]);
    }
    tide_buf_put_u8(&j->out, '"');
}
