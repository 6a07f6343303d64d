/* `rounds`: the history of a job's rounds, page by page from the newest. */
#include "client/cli/cli.h"

#define PAGE 1000u
#define LIMIT_DEFAULT 100u

/* Where a page goes: into the document or into the table, never both. */
struct sink {
    struct json json;
    struct table table;
    uint64_t shown;
};

static void take_page(struct cli *c, const Tide__RoundList *page, uint64_t limit, struct sink *to)
{
    for (size_t i = 0; i < page->n_rounds && to->shown < limit; i++) {
        Tide__RoundInfo *r = page->rounds[i];
        if (c->options.failed && !cli_is(r->state, "aborted")) continue;
        to->shown++;
        if (c->options.json)
            show_round_json(&to->json, NULL, r);
        else
            show_rounds(&r, 1, &to->table);
    }
}

static int all_pages(struct cli *c, uint64_t limit, struct sink *to, bool *ret_more)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ListRounds call = TIDE__LIST_ROUNDS__INIT;
    const Tide__Response *answer;
    bool more = true;
    request.call_case = TIDE__REQUEST__CALL_ROUNDS;
    request.rounds = &call;
    call.job = cli_data(c->args[0]);
    while (more && to->shown < limit) {
        uint64_t left = limit - to->shown;
        call.limit = c->options.failed || left > PAGE ? PAGE : (uint32_t)left;
        int rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_ROUNDS, &answer);
        if (rc) return rc;
        const Tide__RoundList *page = answer->rounds;
        uint64_t last = page->n_rounds ? page->rounds[page->n_rounds - 1]->round : 0;
        take_page(c, page, limit, to);
        /* A daemon that does not move on must not keep us here. */
        more = page->more && last && (!call.before || last < call.before);
        call.before = last;
    }
    *ret_more = more;
    return DONE;
}

int rounds_list(struct cli *c)
{
    uint64_t limit = c->options.limit_n ? c->options.limit_n : LIMIT_DEFAULT;
    struct sink to = {.shown = 0};
    bool more = false;
    show_rounds_table(&to.table);
    json_init(&to.json);
    json_array(&to.json, "rounds");
    int rc = all_pages(c, limit, &to, &more);
    if (rc) {
        table_release(&to.table);
        json_release(&to.json);
        return rc;
    }
    if (c->options.json) {
        json_end_array(&to.json);
        json_bool(&to.json, "more", more);
        table_release(&to.table);
        return cli_answer(c, &to.json);
    }
    json_release(&to.json);
    if (to.shown)
        show_print(&to.table);
    else {
        table_release(&to.table);
        cli_note(c->options.failed ? "no round has failed" : "no rounds yet");
    }
    if (more) cli_note("older ones exist: see --limit");
    return DONE;
}
