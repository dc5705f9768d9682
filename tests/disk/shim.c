/* Loaded before the real worker: makes its disk fail on order.
 *
 * TAUT_SHIM names a file of 8 words that test and worker share by mmap:
 *   0 syncs that fail          1 writes that fail        2 errno of both
 *   3 writes are cut in half   4 writes that are interrupted (EINTR)
 *   5 syncs that failed        6 writes that failed, were cut or interrupted   7 unused
 * A count of 0xffffffff never ends. Only files below a directory `segments` are touched.
 *
 * TAUT_SHIM_STATFS=N answers every statfs with that type of filesystem: the worker asks the kernel directly, so a
 * seccomp filter turns the call into a signal, whose handler answers.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { SYNCS, WRITES, ERRNO, HALVES, INTERRUPTED, SYNCS_HIT, WRITES_HIT, WORDS = 8 };

static volatile uint32_t *words;
static long filesystem;

#if defined(__x86_64__)
static void answer_statfs(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct statfs *out = (struct statfs *)registers[REG_RSI];
    memset(out, 0, sizeof *out);
    out->f_type = filesystem;
    registers[REG_RAX] = 0;
}

static void trap_statfs(void) {
    struct sigaction action = {.sa_sigaction = answer_statfs, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSYS, &action, NULL);
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_statfs, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
#else
static void trap_statfs(void) {}
#endif

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("TAUT_SHIM"), *type = getenv("TAUT_SHIM_STATFS");
    if (path) {
        int fd = open(path, O_RDWR | O_CLOEXEC);
        void *shared = mmap(NULL, WORDS * sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (shared != MAP_FAILED) words = shared;
        close(fd);
    }
    if (type) {
        filesystem = strtol(type, NULL, 0);
        trap_statfs();
    }
}

static int is_segment(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/segments/") != NULL;
}

/* Takes one of a count; whether there was one. */
static int take(int which) {
    uint32_t left = words[which];
    while (left != 0) {
        if (left == UINT32_MAX) return 1;
        if (__atomic_compare_exchange_n(&words[which], &left, left - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return 1;
    }
    return 0;
}

static int fail(int count, int hit) {
    if (!take(count)) return 0;
    __atomic_add_fetch(&words[hit], 1, __ATOMIC_SEQ_CST);
    errno = (int)words[ERRNO];
    return 1;
}

static int sync_with(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (words && is_segment(fd) && fail(SYNCS, SYNCS_HIT)) return -1;
    return real(fd);
}

int fdatasync(int fd) { return sync_with("fdatasync", fd); }
int fsync(int fd) { return sync_with("fsync", fd); }

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (words && is_segment(fd)) {
        if (take(INTERRUPTED)) {
            __atomic_add_fetch(&words[WRITES_HIT], 1, __ATOMIC_SEQ_CST);
            errno = EINTR;
            return -1;
        }
        if (fail(WRITES, WRITES_HIT)) return -1;
        if (words[HALVES] && length > 1) {
            __atomic_add_fetch(&words[WRITES_HIT], 1, __ATOMIC_SEQ_CST);
            length /= 2;
        }
    }
    return real(fd, bytes, length, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}
