/* What descriptor.c reads and descriptor_compare.c compares. */
#ifndef TIDE_STATE_DESCRIPTOR_IMPL_H
#define TIDE_STATE_DESCRIPTOR_IMPL_H

#include "proto/arena.h"
#include "state/descriptor.h"

#define TYPES_MAX 4096u
#define FIELDS_MAX 16384u
#define FIELD_NUMBER_MAX 536870911u
#define NO_TYPE UINT32_MAX

enum { LABEL_OPTIONAL = 1, LABEL_REQUIRED = 2, LABEL_REPEATED = 3 };

/* As protobuf numbers them. */
enum {
    TYPE_DOUBLE = 1,
    TYPE_FLOAT,
    TYPE_INT64,
    TYPE_UINT64,
    TYPE_INT32,
    TYPE_FIXED64,
    TYPE_FIXED32,
    TYPE_BOOL,
    TYPE_STRING,
    TYPE_GROUP,
    TYPE_MESSAGE,
    TYPE_BYTES,
    TYPE_UINT32,
    TYPE_ENUM,
    TYPE_SFIXED32,
    TYPE_SFIXED64,
    TYPE_SINT32,
    TYPE_SINT64,
    TYPE_LAST = TYPE_SINT64
};

struct field {
    struct tide_bytes name, type_name; /* views */
    uint32_t number, refers, oneof;    /* refers: of a message or enum, its type; or NO_TYPE */
    uint8_t label, type;
};

struct type {
    struct tide_bytes name; /* full */
    uint32_t first, n;      /* of its fields, by number; or, is_enum, of its values */
    bool is_enum, open;     /* open: an enum may have values that it does not name */
};

struct tide_descriptor {
    struct type *types; /* by name */
    uint32_t n_types;
    struct field *fields;
    uint32_t n_fields;
    int32_t *values;
    uint32_t n_values;
    uint32_t root;
    struct tide_arena arena;
};

#endif
