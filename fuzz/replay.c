/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays inputs into a fuzz target without libFuzzer, so that every build, with any compiler,
 * runs the checked-in corpus. Each argument is one input file; a target
 * that misbehaves aborts, and the last line printed names the file.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The entry point of every target in this folder. Borrows data for the call. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Gives the whole file in memory of exactly its size, so that a sanitizer sees any overread. */
static uint8_t *file_read(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    long end = -1;
    uint8_t *data = NULL;

    if (f == NULL)
        return NULL;
    if (fseek(f, 0, SEEK_END) == 0)
        end = ftell(f);
    if (end < 0 || fseek(f, 0, SEEK_SET) != 0)
        goto out;
    data = malloc(end > 0 ? (size_t)end : 1);
    if (data != NULL && fread(data, 1, (size_t)end, f) != (size_t)end) {
        free(data);
        data = NULL;
    }
    *size = (size_t)end;
out:
    fclose(f);
    return data;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t size = 0;
        uint8_t *data;

        printf("%s\n", argv[i]);
        fflush(stdout);
        data = file_read(argv[i], &size);
        if (data == NULL) {
            perror(argv[i]);
            return EXIT_FAILURE;
        }
        LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    printf("%d inputs replayed\n", argc - 1);
    return EXIT_SUCCESS;
}
