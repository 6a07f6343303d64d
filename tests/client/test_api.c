/* What the library promises to programs that it was not compiled with, and to their threads:
 * structs of another length, and calls that wait for nobody. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "tests/client/lib_fake.h"
#include "tests/client/lib_run.h"

static int on_restore(struct tide_task *t, const struct tide_restore *r, void *user)
{
    (void)t, (void)r, (void)user;
    return 0;
}

static int on_snapshot(struct tide_task *t, struct tide_snapshot *s, void *user)
{
    (void)t, (void)s, (void)user;
    return 0;
}

static const struct tide_callbacks callbacks = {.restore = on_restore, .snapshot = on_snapshot};

static struct tide_spec *make_spec(void)
{
    struct tide_spec *spec;
    ck_assert_int_eq(tide_spec_new("job", &spec), 0);
    ck_assert_int_eq(tide_spec_operator(spec, "a", 1, 0), 0);
    return spec;
}

/* ---- structs that grow */

struct newer_checkpointing {
    struct tide_checkpointing known;
    uint32_t unknown;
};
struct newer_config {
    struct tide_worker_config known;
    void *unknown;
};
struct newer_callbacks {
    struct tide_callbacks known;
    void (*unknown)(void);
};

static void something(void)
{
}

START_TEST(a_newer_struct_is_taken_while_it_asks_for_nothing_new)
{
    char why[256];
    struct tide_spec *spec = make_spec();
    struct newer_checkpointing every = {.known = {.interval_ms = 1000}};
    struct newer_config config = {.known = {.spec = spec, .name = "w1"}};
    struct newer_callbacks calls = {.known = callbacks};
    struct tide_worker *w = NULL;
    ck_assert_int_eq(tide_spec_checkpointing_sized(spec, &every.known, sizeof every), 0);
    ck_assert_int_eq(tide_worker_new_sized(&config.known, sizeof config, &w, why), 0);
    ck_assert_int_eq(
        tide_worker_add_task_sized(w, "a", 0, 0, &calls.known, sizeof calls, NULL, NULL), 0);
    tide_worker_free(w);

    w = NULL;
    config.unknown = why;
    ck_assert_int_eq(tide_worker_new_sized(&config.known, sizeof config, &w, why), TIDE_ENOTSUP);
    ck_assert_ptr_null(w);
    ck_assert_ptr_nonnull(strstr(why, "config has 72 bytes"));
    config.unknown = NULL;
    ck_assert_int_eq(tide_worker_new_sized(&config.known, sizeof config, &w, why), 0);
    calls.unknown = something;
    ck_assert_int_eq(
        tide_worker_add_task_sized(w, "a", 0, 0, &calls.known, sizeof calls, NULL, NULL),
        TIDE_ENOTSUP);
    char words[40];
    snprintf(words, sizeof words, "callbacks have %zu bytes", sizeof calls);
    ck_assert_ptr_nonnull(strstr(tide_worker_error(w), words));
    tide_worker_free(w);
    every.unknown = 1;
    ck_assert_int_eq(tide_spec_checkpointing_sized(spec, &every.known, sizeof every), TIDE_ENOTSUP);
    /* and it sticks */
    ck_assert_int_eq(tide_worker_new(&config.known, &w, why), TIDE_ENOTSUP);
    tide_spec_free(spec);
    spec = make_spec(); /* literals with commas in them are arguments like others */
    ck_assert_int_eq(
        tide_worker_new(&(struct tide_worker_config){.spec = spec, .name = "w1"}, &w, why), 0);
    ck_assert_int_eq(tide_worker_add_task(w, "a", 0, 0,
                                          &(struct tide_callbacks){.restore = callbacks.restore,
                                                                   .run = callbacks.run,
                                                                   .snapshot = callbacks.snapshot},
                                          NULL, NULL),
                     0);
    tide_worker_free(w);
    tide_spec_free(spec);
}
END_TEST

START_TEST(a_struct_shorter_than_it_ever_was_is_refused)
{
    char why[256];
    struct tide_spec *spec = make_spec();
    struct tide_checkpointing every = {.interval_ms = 1000};
    struct tide_worker_config config = {.spec = spec, .name = "w1"};
    struct tide_worker *w;
    ck_assert_int_eq(tide_worker_new_sized(&config, sizeof config - 8, &w, why), TIDE_EINVAL);
    ck_assert_int_eq(tide_worker_new(&config, &w, why), 0);
    ck_assert_int_eq(tide_worker_add_task_sized(w, "a", 0, 0, &callbacks,
                                                offsetof(struct tide_callbacks, fenced), NULL,
                                                NULL),
                     TIDE_EINVAL);
    tide_worker_free(w);
    ck_assert_int_eq(tide_spec_checkpointing_sized(
                         spec, &every, offsetof(struct tide_checkpointing, attempts_max)),
                     TIDE_EINVAL);
    tide_spec_free(spec);
}
END_TEST

/* ---- names: this program's name server, which stands in the place of the C library's */

static atomic_int lookups, numeric; /* asked for */
static atomic_int delay_ms, answer; /* answer: 0, or getaddrinfo's code */
static atomic_int answered;

static void nap(int ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct found {
    struct addrinfo info;
    struct sockaddr_in at;
};

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    struct in_addr at = {htonl(INADDR_LOOPBACK)};
    bool is_numeric = inet_pton(AF_INET, host, &at) == 1;
    if (hints->ai_flags & AI_NUMERICHOST) {
        numeric++;
        if (!is_numeric) return EAI_NONAME;
    } else {
        lookups++;
        nap(delay_ms);
        answered++;
        if (answer) return answer;
    }
    struct found *f = calloc(1, sizeof *f);
    f->at = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr = at};
    f->info = (struct addrinfo){
        .ai_family = AF_INET, .ai_addr = (void *)&f->at, .ai_addrlen = sizeof f->at};
    *ret = &f->info;
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    free(list); /* the first member */
}

static struct fake *fake;
static char log_text[4096];

static void on_log(const char *text, void *user)
{
    (void)user;
    size_t len = strlen(log_text);
    snprintf(log_text + len, sizeof log_text - len, "%s\n", text);
}

static struct tide_worker *worker_at(const char *host)
{
    char why[256], address[128];
    struct tide_spec *spec = make_spec();
    struct tide_worker *w = NULL;
    snprintf(address, sizeof address, "%s:%s", host, strchr(fake_address(fake), ':') + 1);
    struct tide_worker_config config = {
        .spec = spec, .name = "w1", .address = address, .log = on_log};
    ck_assert_msg(tide_worker_new(&config, &w, why) == 0, "%s", why);
    ck_assert_int_eq(tide_worker_add_task(w, "a", 0, 0, &callbacks, NULL, NULL), 0);
    tide_spec_free(spec);
    return w;
}

START_TEST(a_slow_name_server_holds_nobody_up)
{
    fake = fake_open();
    delay_ms = 1000;
    int64_t began = now_ms();
    int before = 0; /* calls that returned although no answer was there */
    struct tide_worker *w = worker_at("slow.example");
    ck_assert_int_eq(answered, 0);
    while (fake_heard(fake, "join") < 1) {
        ck_assert_int_eq(tide_worker_process(w), 0);
        before += answered == 0;
        ck_assert_int_lt(now_ms() - began, 20000);
        nap(1);
    }
    ck_assert_int_ge(now_ms() - began, 1000);
    ck_assert_int_gt(before, 2);
    ck_assert_int_eq(lookups, 1);
    tide_worker_free(w);
    fake_close(fake);
}
END_TEST

START_TEST(the_fd_tells_when_the_name_is_known)
{
    fake = fake_open();
    delay_ms = 300;
    struct tide_worker *w = worker_at("slow.example");
    for (int i = 0; i < 50 && !fake_heard(fake, "hello"); i++)
        ck_assert_int_eq(tide_worker_wait(w, 8000), 0); /* no timer is so near */
    ck_assert_uint_eq(fake_heard(fake, "hello"), 1);
    tide_worker_free(w);
    fake_close(fake);
}
END_TEST

START_TEST(leaving_does_not_wait_for_a_name)
{
    fake = fake_open();
    delay_ms = 700;
    struct tide_worker *w = worker_at("slow.example");
    for (int i = 0; i < 500 && !lookups; i++)
        (void)tide_worker_wait(w, 10);
    int64_t from = now_ms();
    tide_worker_free(w);
    ck_assert_int_lt(now_ms() - from, 400);
    ck_assert_int_eq(answered, 0);
    while (!answered) /* which finds nobody, and frees what it has */
        nap(10);
    nap(50);
    fake_close(fake);
}
END_TEST

START_TEST(a_name_that_leads_nowhere_is_told_and_looked_up_again)
{
    fake = fake_open();
    answer = EAI_NONAME;
    struct tide_worker *w = worker_at("nowhere.example");
    while (lookups < 3)
        ck_assert_int_eq(tide_worker_wait(w, 10), 0);
    ck_assert_ptr_nonnull(strstr(tide_worker_error(w), "no connection to nowhere.example:"));
    ck_assert_ptr_nonnull(strstr(tide_worker_error(w), gai_strerror(EAI_NONAME)));
    const char *once = strstr(log_text, "no connection to nowhere.example:");
    ck_assert_ptr_nonnull(once);
    ck_assert_ptr_null(strstr(once + 1, "no connection to nowhere.example:"));
    answer = 0;
    turn_until(w, fake, "join", 1);
    /* and whenever the connection is made again, since it may have moved */
    int before = lookups;
    fake_cut(fake);
    turn_until(w, fake, "join", 2);
    ck_assert_int_gt(lookups, before);
    tide_worker_free(w);
    fake_close(fake);
}
END_TEST

START_TEST(an_address_in_numbers_asks_nobody)
{
    fake = fake_open();
    struct tide_worker *w = worker_at("127.0.0.1");
    turn_until(w, fake, "join", 1);
    fake_cut(fake);
    turn_until(w, fake, "join", 2);
    ck_assert_int_eq(numeric, 1);
    ck_assert_int_eq(lookups, 0);
    tide_worker_free(w);
    fake_close(fake);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_newer_struct_is_taken_while_it_asks_for_nothing_new,
        a_struct_shorter_than_it_ever_was_is_refused,
        a_slow_name_server_holds_nobody_up,
        the_fd_tells_when_the_name_is_known,
        leaving_does_not_wait_for_a_name,
        a_name_that_leads_nowhere_is_told_and_looked_up_again,
        an_address_in_numbers_asks_nobody,
    };
    Suite *suite = suite_create("api");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        add_test(suite, tests[i]);
    return run_suite(suite);
}
