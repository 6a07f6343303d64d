/* See lib_spec.h. */
#include "tests/core/lib_spec.h"

#include <stdlib.h>
#include <string.h>

static ProtobufCBinaryData view(char *text, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)text};
}

static void read_operator(struct spec *s, char *word, size_t len)
{
    char *at;
    Tide__Operator *op = s->operator_list[s->spec.n_operators] = &s->operators[s->spec.n_operators];
    ck_assert_uint_lt(s->spec.n_operators++, SPEC_ITEMS);
    tide__operator__init(op);
    op->uid = view(word, 1);
    op->parallelism = (uint32_t)strtoul(word + 1, &at, 10);
    if (*at == '/') op->max_parallelism = (uint32_t)strtoul(at + 1, &at, 10);
    if (*at == '@') op->coordinator = *at++ == '@';
    if (*at == 'u') op->union_state = *at++ == 'u';
    ck_assert_ptr_eq(at, word + len);
}

static void read_edge(struct spec *s, char *word, size_t len)
{
    Tide__Edge *e = s->edge_list[s->spec.n_edges] = &s->edges[s->spec.n_edges];
    ck_assert_uint_lt(s->spec.n_edges++, SPEC_ITEMS);
    ck_assert_uint_eq(len, 3);
    tide__edge__init(e);
    e->from = view(word, 1);
    e->to = view(word + 2, 1);
    e->pattern =
        word[1] == '=' ? TIDE__EDGE_PATTERN__EDGE_POINTWISE : TIDE__EDGE_PATTERN__EDGE_ALL_TO_ALL;
}

void spec_read(struct spec *s, const char *text)
{
    int section = 0;
    memset(s, 0, sizeof *s);
    tide__job_spec__init(&s->spec);
    tide__checkpointing__init(&s->checkpointing);
    ck_assert_uint_lt(strlen(text), sizeof s->text);
    strcpy(s->text, text);
    s->spec.name = view((char *)(uintptr_t) "job", 3);
    s->spec.operators = s->operator_list;
    s->spec.edges = s->edge_list;
    s->spec.hooks = s->hooks;
    s->spec.checkpointing = &s->checkpointing;
    for (char *at = s->text; *at;) {
        size_t len = strcspn(at, " ;");
        if (len && section == 0)
            read_operator(s, at, len);
        else if (len && section == 1)
            read_edge(s, at, len);
        else if (len)
            s->hooks[s->spec.n_hooks++] = view(at, len);
        at += len;
        if (*at) section += *at++ == ';';
    }
}

struct tide_graph *spec_graph(const char *text)
{
    struct spec s;
    struct tide_graph *g;
    char why[256] = "";
    spec_read(&s, text);
    ck_assert_msg(tide_graph_new(&s.spec, &g, why) == 0, "%s: %s", text, why);
    return g;
}
