/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of the table of keys for people and editors. Each writes one whole document to
 * `out`. */
#ifndef CONFIG_DOCS_H
#define CONFIG_DOCS_H

#include <stdio.h>

/* docs/reference/config.md. */
void config_write_reference(FILE *out);

/* docs/reference/config.schema.json: JSON Schema 2020-12 of the file, for editors. */
void config_write_json_schema(FILE *out);

/* skein.yaml: every key with its default, commented out. */
void config_write_default_file(FILE *out);

#endif
