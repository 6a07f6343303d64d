/* Runs a fuzz target over files without a fuzzer: `make check` replays every corpus with it. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return perror(path), 1;
    size_t size = 0, cap = (size_t)1 << 22;
    uint8_t *data = malloc(cap);
    if (data) size = fread(data, 1, cap, file);
    fclose(file);
    /* Exactly the input's size, so that a sanitizer sees each byte that is read behind it. */
    uint8_t *exact = data ? realloc(data, size ? size : 1) : NULL;
    if (!exact) return free(data), 1;
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    inputs++;
    return 0;
}

static int replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return perror(path), 1;
    if (!S_ISDIR(st.st_mode)) return replay_file(path);
    DIR *dir = opendir(path);
    if (!dir) return perror(path), 1;
    int failed = 0;
    for (struct dirent *e; !failed && (e = readdir(dir));) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.') failed = replay_file(name);
    }
    closedir(dir);
    return failed;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (replay(argv[i]) != 0) return 1;
    if (inputs == 0) return fprintf(stderr, "replay: no input: the corpus is empty\n"), 1;
    printf("%u inputs replayed\n", inputs);
    return 0;
}
