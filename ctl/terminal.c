/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* The other screen, no cursor, no wrapping; and back. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[2J"
#define LEAVE "\033[0m\033[?7h\033[?25h\033[?1049l"

/* One, because signal handlers have no argument. */
static struct {
    struct termios before;
    struct termios raw;
    volatile sig_atomic_t open;
    char input[64];
    size_t size, at;
} terminal;

bool terminal_is_there(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 &&
           kind != NULL && strcmp(kind, "dumb") != 0;
}

int terminal_write(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

/* Both may be called in a signal handler. */
static void enter(void)
{
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal.raw);
    terminal_write(ENTER, sizeof(ENTER) - 1);
}

static void leave(void)
{
    terminal_write(LEAVE, sizeof(LEAVE) - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
}

/* Its default action follows: SA_RESETHAND. */
static void on_end(int number)
{
    if (terminal.open)
        leave();
    terminal.open = 0;
    raise(number);
}

static void on_stop(int number)
{
    int saved = errno;
    (void)number;
    if (terminal.open)
        leave();
    raise(SIGSTOP);
    errno = saved;
}

static void on_continue(int number)
{
    int saved = errno;
    (void)number;
    if (terminal.open)
        enter();
    errno = saved;
}

static void on_resize(int number)
{
    (void)number; /* it ends the wait */
}

/* Not over what somebody else has set, or has had ignored. */
static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction before;
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_DFL)
        sigaction(number, &action, NULL);
}

static void handle_signals(void)
{
    static const int ends[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGALRM,
                               SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGABRT,
                               SIGXCPU, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        handle(ends[i], on_end, (int)SA_RESETHAND | SA_NODEFER);
    handle(SIGTSTP, on_stop, SA_RESTART);
    handle(SIGCONT, on_continue, 0);
    handle(SIGWINCH, on_resize, 0);
    /* Seen in terminal_key only, so that none is missed before it waits. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigaddset(&set, SIGCONT);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int terminal_open(struct error *error)
{
    if (tcgetattr(STDIN_FILENO, &terminal.before) != 0)
        return error_set_errno(error, ERROR_IO, "cannot ask the terminal");
    terminal.raw = terminal.before;
    terminal.raw.c_lflag &= ~(tcflag_t)(ECHO | ICANON | IEXTEN);
    terminal.raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    terminal.raw.c_cc[VMIN] = 1;
    terminal.raw.c_cc[VTIME] = 0;
    terminal.open = 1;
    atexit(terminal_close);
    handle_signals();
    enter();
    return 0;
}

void terminal_close(void)
{
    if (!terminal.open)
        return;
    terminal.open = 0;
    leave();
}

void terminal_size(unsigned *columns, unsigned *rows)
{
    struct winsize size = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    *columns = size.ws_col != 0 ? size.ws_col : 80;
    *rows = size.ws_row != 0 ? size.ws_row : 24;
}

/* --- keys --- */

/* What terminals send for these behind ESC [ or ESC O. */
static const struct {
    const char *bytes;
    int key;
} sequences[] = {
    {"A", TERMINAL_UP},         {"B", TERMINAL_DOWN}, {"5~", TERMINAL_PAGE_UP},
    {"6~", TERMINAL_PAGE_DOWN}, {"H", TERMINAL_HOME}, {"1~", TERMINAL_HOME},
    {"7~", TERMINAL_HOME},      {"F", TERMINAL_END},  {"4~", TERMINAL_END},
    {"8~", TERMINAL_END},
};

/* Behind ESC; a sequence that we do not know is nothing as a whole. */
static int take_sequence(void)
{
    const char *rest = terminal.input + terminal.at;
    size_t left = terminal.size - terminal.at;
    size_t size = 1;
    if (left == 0 || (rest[0] != '[' && rest[0] != 'O'))
        return TERMINAL_ESCAPE;
    while (size < left && (rest[size] < '@' || rest[size] > '~'))
        size++;
    size += size < left;
    terminal.at += size;
    for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++)
        if (strlen(sequences[i].bytes) == size - 1 &&
            memcmp(sequences[i].bytes, rest + 1, size - 1) == 0)
            return sequences[i].key;
    return TERMINAL_NOTHING;
}

static int take_key(void)
{
    int key = (unsigned char)terminal.input[terminal.at++];
    return key == 0x1b ? take_sequence() : key;
}

int terminal_key(int timeout_ms)
{
    if (terminal.at < terminal.size)
        return take_key();
    struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    sigset_t none;
    sigemptyset(&none);
    int ready = ppoll(&wait, 1, &timeout, &none);
    if (ready <= 0)
        return ready == 0 || errno == EINTR ? TERMINAL_NOTHING : TERMINAL_GONE;
    ssize_t got = read(STDIN_FILENO, terminal.input, sizeof(terminal.input));
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return TERMINAL_NOTHING;
    if (got <= 0)
        return TERMINAL_GONE;
    terminal.size = (size_t)got;
    terminal.at = 0;
    return take_key();
}
