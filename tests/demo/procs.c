/* Processes: starting, reading their logs, starting them again. See demo.h
 *
 * Everything is done by one thread in pump(). Children die with us (PR_SET_PDEATHSIG), so that a
 * demo that is killed leaves nothing behind. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/demo/demo.h"

struct proc procs[PROCS];
const char *work_dir;
#define COMMANDS_MAX 8
static struct {
    pid_t pid;
    int code; /* -1: still running */
} commands[COMMANDS_MAX];

static int64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t now_ms(void)
{
    static int64_t start;
    if (start == 0) start = clock_ms();
    return clock_ms() - start;
}

static void tell_v(const char *format, va_list args)
{
    int64_t now = now_ms();
    printf("%4d.%02d  ", (int)(now / 1000), (int)(now % 1000 / 10));
    vprintf(format, args);
    printf("\n");
    fflush(stdout);
}

void tell(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell_v(format, args);
    va_end(args);
}

void fail(const char *format, ...)
{
    va_list args;
    kill_all();
    printf("demo: FAILED: ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\ndemo: logs, data and what was published are in %s\n", work_dir);
    exit(1);
}

/* In the child. */
static _Noreturn void become(const char *const argv[], int out, int err, pid_t parent)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127); /* it died before we asked */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(argv[0], (char *const *)argv);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static void open_log(struct proc *p)
{
    char path[4096];
    if (p->log) return;
    snprintf(path, sizeof path, "%s/%s.log", work_dir, p->name);
    p->log = fopen(path, "we");
    if (!p->log) fail("cannot write %s: %s", path, strerror(errno));
}

void spawn(struct proc *p)
{
    int fds[2];
    pid_t self = getpid();
    open_log(p);
    if (pipe2(fds, O_CLOEXEC)) fail("no pipe: %s", strerror(errno));
    p->pid = fork();
    if (p->pid < 0) fail("cannot fork: %s", strerror(errno));
    if (p->pid == 0) become(p->argv, fds[1], fds[1], self);
    close(fds[1]);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    p->out = fds[0];
    p->len = 0;
    p->killed = false;
    watch_started(p);
    fprintf(p->log, "%8.3f ---- started as %d\n", (double)now_ms() / 1000, (int)p->pid);
}

pid_t spawn_command(const char *const argv[], const char *output)
{
    pid_t self = getpid();
    int slot = 0;
    while (slot < COMMANDS_MAX && commands[slot].pid)
        slot++;
    if (slot == COMMANDS_MAX) fail("too many commands at once");
    int fd = open(output ? output : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) fail("cannot write %s: %s", output, strerror(errno));
    pid_t pid = fork();
    if (pid < 0) fail("cannot fork: %s", strerror(errno));
    if (pid == 0) {
        setpgid(0, 0); /* a shell's whole pipeline is ended together */
        become(argv, fd, fd, self);
    }
    setpgid(pid, pid);
    close(fd);
    commands[slot].pid = pid;
    commands[slot].code = -1;
    return pid;
}

/* ---- reading */

static void take_line(struct proc *p)
{
    p->line[p->len] = '\0';
    open_log(p);
    fprintf(p->log, "%8.3f %s\n", (double)now_ms() / 1000, p->line);
    fflush(p->log);
    watch_line(p, p->line);
    p->len = 0;
}

/* false: it has closed its end. */
static bool read_lines(struct proc *p)
{
    char buf[4096];
    ssize_t n;
    while ((n = read(p->out, buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (buf[i] == '\n' || p->len == sizeof p->line - 1) take_line(p);
            if (buf[i] != '\n') p->line[p->len++] = buf[i];
        }
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* ---- those that have ended */

static void proc_ended(struct proc *p, int status)
{
    p->code = WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
    if (p->out >= 0) (void)read_lines(p);
    if (p->len) take_line(p);
    close(p->out);
    p->out = -1;
    p->pid = 0;
    open_log(p);
    fprintf(p->log, "%8.3f ---- ended: %s %d\n", (double)now_ms() / 1000,
            p->code >= 256 ? "signal" : "exit code", p->code % 256);
    fflush(p->log);
    if (p->keep && p->code != 0) {
        if (!p->killed)
            fail("%s ended by itself (%s %d)", p->name, p->code >= 256 ? "signal" : "exit code",
                 p->code % 256);
        spawn(p);
    }
}

static void reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < PROCS; i++)
            if (procs[i].pid == pid) proc_ended(&procs[i], status);
        for (int i = 0; i < COMMANDS_MAX; i++)
            if (commands[i].pid == pid)
                commands[i].code = WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
    }
}

bool pump(bool (*until)(void), int timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;
    for (;;) {
        struct pollfd fds[PROCS];
        reap();
        if (until && until()) return true;
        int64_t left = end - now_ms();
        if (left <= 0) return false;
        for (int i = 0; i < PROCS; i++)
            fds[i] = (struct pollfd){procs[i].pid ? procs[i].out : -1, POLLIN, 0};
        if (poll(fds, PROCS, left < 10 ? (int)left : 10) <= 0) continue;
        bool closed = false;
        for (int i = 0; i < PROCS; i++)
            if (fds[i].revents && !read_lines(&procs[i])) closed = true;
        if (closed) usleep(1000); /* it is about to be reaped */
    }
}

static int waited_for;
static bool command_ended(void)
{
    return commands[waited_for].code >= 0;
}

int pump_child(pid_t pid, int timeout_ms)
{
    waited_for = 0;
    while (waited_for < COMMANDS_MAX && commands[waited_for].pid != pid)
        waited_for++;
    if (waited_for == COMMANDS_MAX || !pump(command_ended, timeout_ms)) return -1;
    commands[waited_for].pid = 0;
    return commands[waited_for].code;
}

void kill_all(void)
{
    for (int i = 0; i < PROCS; i++) {
        procs[i].keep = false;
        if (procs[i].pid > 0) kill(procs[i].pid, SIGKILL);
    }
    for (int i = 0; i < COMMANDS_MAX; i++)
        if (commands[i].pid > 0 && commands[i].code < 0) kill(-commands[i].pid, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0) {
    }
}
