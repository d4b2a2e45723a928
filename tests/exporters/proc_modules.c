/* Kernels built without loadable modules have no /proc/modules, and Scaphandre ends at once without that file: it
 * wants to read the list, and then goes on with an empty one. Preloaded, this gives it an empty file of that name and
 * changes nothing else. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

static const char *instead(const char *path) { return strcmp(path, "/proc/modules") ? path : "/dev/null"; }

#define OPEN(name)                                                                                   \
  int name(const char *path, int flags, ...) {                                                       \
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
    va_list rest;                                                                                    \
    va_start(rest, flags);                                                                           \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                        \
    va_end(rest);                                                                                    \
    return next(instead(path), flags, mode);                                                         \
  }

OPEN(open)
OPEN(open64)
