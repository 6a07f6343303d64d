/* The command `tidemark` against a daemon that answers anything: each command, as text and as JSON,
 * ends by itself and says something.
 *
 * Input: a byte that chooses the command, a byte of options, then Responses, each behind two bytes
 * of length. When they are used up the connection is broken for good. What is tested is the program
 * with its connection replaced: main.c becomes part of this file, rpc.c is left out. */
#include <time.h>

#define main tidemark_main
int main(int argc, char **argv);
#include "client/cli/main.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tide_bytes input;
static uint64_t now;

/* ---- in place of rpc.c */

uint64_t rpc_now(void)
{
    return now += 1000;
}

bool rpc_address_valid(const char *address, char why[static RPC_WHY])
{
    why[0] = '\0';
    return *address != '\0';
}

void rpc_init(struct rpc *r, const char *address, const char *data, const char *secret_file)
{
    *r = (struct rpc){.address = address, .data = data, .secret_file = secret_file, .fd = -1};
    snprintf(r->peer, sizeof r->peer, "the fuzzer");
    tide_arena_init(&r->arena, TIDE_ARENA_MAX);
}

void rpc_close(struct rpc *r)
{
    tide_arena_release(&r->arena);
}

enum rpc_rc rpc_call(struct rpc *r, Tide__Request *request, uint64_t deadline,
                     const Tide__Response **ret)
{
    tide_arena_reset(&r->arena);
    request->id = ++r->last_id;
    if (!tide__request__get_packed_size(request) || deadline == 0) abort();
    if (input.len < 2) {
        snprintf(r->why, sizeof r->why, "no more answers");
        return RPC_BROKEN;
    }
    size_t len = input.data[0] | (size_t)input.data[1] << 8;
    if (len > input.len - 2) len = input.len - 2;
    struct tide_bytes body = {input.data + 2, len};
    input = (struct tide_bytes){input.data + 2 + len, input.len - 2 - len};
    *ret = tide_unpack(&r->arena, &tide__response__descriptor, body, NULL);
    /* These come before an answer, or instead of one: rpc.c keeps them to itself. */
    bool usual = *ret && (*ret)->result_case != TIDE__RESPONSE__RESULT__NOT_SET &&
                 (*ret)->result_case != TIDE__RESPONSE__RESULT_REFUSED &&
                 (*ret)->result_case != TIDE__RESPONSE__RESULT_WELCOME;
    if (usual) return RPC_OK;
    snprintf(r->why, sizeof r->why, "not an answer");
    return RPC_BROKEN;
}

/* The pause before another try. */
int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    now += (uint64_t)wanted->tv_sec * 1000000 + (uint64_t)wanted->tv_nsec / 1000;
    if (left) left->tv_sec = left->tv_nsec = 0;
    return 0;
}

/* ---- the target */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *sink;
    FILE *out = stdout, *err = stderr;
    if (size < 2) return 0;
    if (!sink) sink = fopen("/dev/null", "w");
    if (!sink) abort();

    const struct command *k = &commands[data[0] % N_COMMANDS];
    struct cli c = {.options.timeout_us = RPC_NEVER, .args = {"1", "2"}};
    c.options.json = data[1] & 1;
    c.options.tasks = c.options.all = data[1] & 2;
    c.options.detach = data[1] & 4;
    c.options.wait = data[1] & 8;
    c.options.limit_n = data[1] & 16 ? 3 : 0;
    c.options.verbose = data[1] & 64;
    c.options.failed = data[1] & 128;
    if (k->arg && k->arg[0] == '[' && (data[1] & 32)) c.args[0] = NULL;
    input = (struct tide_bytes){data + 2, size - 2};
    now = 1000000;
    c.options.connect = "127.0.0.1:1";
    stdout = stderr = sink;
    int code = run(k, &c);
    stdout = out;
    stderr = err;
    if (code != DONE && code != FAILED && code != MISUSED) abort();
    return 0;
}
