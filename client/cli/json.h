/* A JSON writer: one document, into memory, printed whole when it is finished, so that a failure
 * half way leaves no half document on stdout. Text is UTF-8; bytes that are not become U+FFFD. */
#ifndef TIDE_CLI_JSON_H
#define TIDE_CLI_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

#include "proto/bytes.h"

struct json {
    struct tide_buf out;
    unsigned depth;
    bool filled; /* the open object or array has a member already */
};

void json_init(struct json *j); /* opens the document's object */
void json_release(struct json *j);
/* Closes the document's object and prints it. 0, or -1 when memory ran out or the stream failed. */
int json_print(struct json *j, FILE *out);

/* key is NULL within an array. */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_end_object(struct json *j);
void json_end_array(struct json *j);
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
void json_id(struct json *j, const char *key, uint64_t value); /* ids and times: 0 is null */
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
void json_text(struct json *j, const char *key, const char *value);
void json_data(struct json *j, const char *key, ProtobufCBinaryData value);
void json_text_or_null(struct json *j, const char *key,
                       ProtobufCBinaryData value);                         /* empty is null */
void json_hex(struct json *j, const char *key, ProtobufCBinaryData value); /* empty is null */

#endif
