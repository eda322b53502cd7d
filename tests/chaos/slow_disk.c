/* LD_PRELOAD: every fsync and fdatasync takes as many milliseconds more as the file CHAOS_DISK says
   just then, as on a disk that is about to die or has others to serve. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int slowly(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int done = real(file);
    const char *path = getenv("CHAOS_DISK");
    FILE *said = path ? fopen(path, "r") : NULL;
    unsigned int milliseconds = 0;
    if (said != NULL) {
        if (fscanf(said, "%u", &milliseconds) != 1) milliseconds = 0;
        fclose(said);
    }
    if (milliseconds) usleep(1000 * milliseconds);
    return done;
}

int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
