/* Frames as text, for the trace: "AckBatch attempt 2, round 7, tasks a/0 a/1". Whatever the .proto
 * files have, by its own names; what says little to a reader is left out. */
#include "tests/sim/sim.h"

#define WIRE_TEXT 400u
#define NAMES_MAX 9u /* of tasks, then "..." */

struct text {
    char *to;
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list ap;
    if (t->n + 1 >= WIRE_TEXT) return;
    va_start(ap, format);
    int n = vsnprintf(t->to + t->n, WIRE_TEXT - t->n, format, ap);
    va_end(ap);
    t->n = t->n + (size_t)n < WIRE_TEXT ? t->n + (size_t)n : WIRE_TEXT - 1;
}

static bool is_said(const char *name)
{
    static const char *const dull[] = {
        "incarnation", "lowest_pending",       "directory",   "directory_exists", "sequence",
        "nonce",       "snapshot_incarnation", "external",    "worker",           "endpoint",
        "kind",        "version_min",          "version_max", "version",          "frame_max",
    };
    for (size_t i = 0; i < sizeof dull / sizeof *dull; i++)
        if (!strcmp(name, dull[i])) return false;
    return true;
}

static void add_name(struct text *t, const char *name)
{
    add(t, "%s", t->n ? ", " : "");
    for (; *name; name++)
        add(t, "%c", *name == '_' ? ' ' : *name);
}

/* Of a repeated message that is about one task each: TaskAck, TaskProgress. */
static const ProtobufCFieldDescriptor *about_a_task(const ProtobufCFieldDescriptor *f)
{
    const ProtobufCFieldDescriptor *task =
        f->type == PROTOBUF_C_TYPE_MESSAGE
            ? protobuf_c_message_descriptor_get_field_by_name(f->descriptor, "task")
            : NULL;
    return task && task->type == PROTOBUF_C_TYPE_UINT32 ? task : NULL;
}

/* Columns of tasks (AckBatch), ranges of them (Confirm), messages about them. */
static void add_tasks(struct text *t, const struct job *j, const ProtobufCFieldDescriptor *f,
                      const void *member, size_t n)
{
    const ProtobufCFieldDescriptor *inside = about_a_task(f);
    uint32_t shown = 0;
    add_name(t, inside || !strcmp(f->name, "task") ? "tasks" : f->name);
    for (size_t i = 0; i < n; i++) {
        Tide__TaskRange one = {.count = 1};
        if (inside)
            memcpy(&one.first, (*(const char *const *const *)member)[i] + inside->offset,
                   sizeof one.first);
        else if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            one = *(*(Tide__TaskRange *const *const *)member)[i];
        else
            one.first = (*(const uint32_t *const *)member)[i];
        for (uint32_t k = 0; k < one.count; k++, shown++)
            if (shown < NAMES_MAX) add(t, " %s", task_name(j, one.first + k));
    }
    if (shown > NAMES_MAX) add(t, " ...");
}

static void add_enum(struct text *t, const ProtobufCFieldDescriptor *f, int value)
{
    const ProtobufCEnumDescriptor *e = f->descriptor;
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(e, value);
    add_name(t, f->name);
    if (v)
        add(t, " %s", v->name);
    else
        add(t, " %d", value);
}

static void add_fields(struct text *t, const struct job *j, const ProtobufCMessage *m)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const char *at = (const char *)m + f->offset;
        if (!is_said(f->name)) continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n = *(const size_t *)((const char *)m + f->quantifier_offset);
            bool ranges = f->type == PROTOBUF_C_TYPE_MESSAGE &&
                          f->descriptor == &tide__task_range__descriptor;
            if (n && (ranges || about_a_task(f) || !strcmp(f->name, "task")))
                add_tasks(t, j, f, at, n);
            continue;
        }
        switch (f->type) {
        case PROTOBUF_C_TYPE_UINT64:
            if (*(const uint64_t *)at) add_name(t, f->name);
            if (*(const uint64_t *)at) add(t, " %" PRIu64, *(const uint64_t *)at);
            break;
        case PROTOBUF_C_TYPE_UINT32:
            if (!strcmp(f->name, "task")) {
                add_name(t, task_name(j, *(const uint32_t *)at));
            } else if (*(const uint32_t *)at) {
                add_name(t, f->name);
                add(t, " %u", *(const uint32_t *)at);
            }
            break;
        case PROTOBUF_C_TYPE_BOOL:
            if (*(const protobuf_c_boolean *)at) add_name(t, f->name);
            break;
        case PROTOBUF_C_TYPE_ENUM:
            if (*(const int *)at) add_enum(t, f, *(const int *)at);
            break;
        case PROTOBUF_C_TYPE_BYTES: {
            const ProtobufCBinaryData *b = (const ProtobufCBinaryData *)at;
            if (strcmp(f->name, "reason") && strcmp(f->name, "failed") &&
                strcmp(f->name, "outcome"))
                break;
            if (b->len) add(t, "%s%.*s", t->n ? ": " : "", (int)b->len, (const char *)b->data);
            break;
        }
        case PROTOBUF_C_TYPE_MESSAGE: { /* a token, for its attempt */
            const ProtobufCMessage *inner = *(const ProtobufCMessage *const *)at;
            if (inner && inner->descriptor == &tide__token__descriptor) add_fields(t, j, inner);
            break;
        }
        default: break;
        }
    }
}

/* Join and Start travel in parts; here one part has all of it. */
static ProtobufCMessage *unwrapped(ProtobufCMessage *m, bool to_daemon)
{
    if (!m || m->descriptor != &tide__part__descriptor) return m;
    const Tide__Part *part = (const Tide__Part *)m;
    ProtobufCMessage *inner =
        protobuf_c_message_unpack(to_daemon ? &tide__join__descriptor : &tide__start__descriptor,
                                  NULL, part->data.len, part->data.data);
    protobuf_c_message_free_unpacked(m, NULL);
    return inner;
}

const char *wire_text(const struct job *j, struct tide_bytes frame, bool to_daemon)
{
    static char out[WIRE_TEXT], all[WIRE_TEXT + 40];
    struct tide_bytes content;
    struct text t = {out, 0};
    uint32_t field = tide_frame_peek(frame, &content);
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(
        to_daemon ? &tide__from_worker__descriptor : &tide__to_worker__descriptor, field);
    out[0] = '\0';
    if (!f || f->type != PROTOBUF_C_TYPE_MESSAGE) return "?";
    ProtobufCMessage *m = unwrapped(
        protobuf_c_message_unpack(f->descriptor, NULL, content.len, content.data), to_daemon);
    if (!m) return "?";
    add_fields(&t, j, m);
    snprintf(all, sizeof all, "%s%s%s", m->descriptor->short_name, t.n ? " " : "", out);
    protobuf_c_message_free_unpacked(m, NULL);
    return all;
}
