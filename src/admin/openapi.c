/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 document of a table of resources. */
#include "admin/resource.h"

#include "base/check.h"

#include <ctype.h>
#include <string.h>

#define DIALECT "https://json-schema.org/draft/2020-12/schema"

static json_t *checked(json_t *json)
{
    CHECK(json != NULL);
    return json;
}

static void set(json_t *object, const char *name, json_t *value)
{
    CHECK(json_object_set_new(object, name, value) == 0);
}

/* ---- schemas -----------------------------------------------------------------------------------
 */

static json_t *members_schema(const struct admin_field *fields);

static json_t *type_schema(const struct admin_field *field)
{
    switch (field->type) {
    case ADMIN_INTEGER:
        return checked(json_pack("{s:s}", "type", "integer"));
    case ADMIN_NUMBER:
        return checked(json_pack("{s:s}", "type", "number"));
    case ADMIN_BOOLEAN:
        return checked(json_pack("{s:s}", "type", "boolean"));
    case ADMIN_OBJECT:
        return field->of != NULL ? members_schema(field->of)
                                 : checked(json_pack("{s:s, s:{s:s}}", "type", "object",
                                                     "additionalProperties", "type", "number"));
    case ADMIN_LIST:
        return checked(
            json_pack("{s:s, s:o}", "type", "array", "items", members_schema(field->of)));
    default:
        return checked(json_pack("{s:s}", "type", "string"));
    }
}

/* An object with these members and no others. */
static json_t *members_schema(const struct admin_field *fields)
{
    json_t *properties = json_object();
    json_t *required = json_array();

    for (; fields != NULL && fields->name != NULL; fields++) {
        json_t *schema = type_schema(fields);
        set(schema, "description", json_string(fields->help));
        set(properties, fields->name, schema);
        if (fields->presence == ADMIN_REQUIRED)
            json_array_append_new(required, json_string(fields->name));
    }
    return checked(json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties,
                             "required", required, "additionalProperties", 0));
}

static json_t *parameter_schema(const struct admin_field *field)
{
    json_t *schema = type_schema(field);

    if (field->type != ADMIN_INTEGER)
        return schema;
    set(schema, "minimum", json_integer((json_int_t)field->min));
    set(schema, "maximum", json_integer((json_int_t)field->max));
    if (field->presence == ADMIN_OPTIONAL)
        set(schema, "default", json_integer((json_int_t)field->standard));
    return schema;
}

/* ---- operations --------------------------------------------------------------------------------
 */

static json_t *parameters(const struct resource *resource)
{
    json_t *list = json_array();

    for (const struct admin_field *f = resource->parameters; f != NULL && f->name != NULL; f++) {
        if (f->place == ADMIN_IN_BODY)
            continue;
        json_array_append_new(
            list, checked(json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", f->name, "in",
                                    f->place == ADMIN_IN_PATH ? "path" : "query", "required",
                                    f->presence == ADMIN_REQUIRED, "description", f->help, "schema",
                                    parameter_schema(f))));
    }
    return list;
}

/* NULL when the request has no body. */
static json_t *request_body(const struct resource *resource)
{
    json_t *properties = json_object();
    json_t *required = json_array();

    for (const struct admin_field *f = resource->parameters; f != NULL && f->name != NULL; f++) {
        if (f->place != ADMIN_IN_BODY)
            continue;
        json_t *schema = parameter_schema(f);
        set(schema, "description", json_string(f->help));
        set(properties, f->name, schema);
        if (f->presence == ADMIN_REQUIRED)
            json_array_append_new(required, json_string(f->name));
    }
    if (json_object_size(properties) == 0) {
        json_decref(properties);
        json_decref(required);
        return NULL;
    }
    return checked(json_pack("{s:b, s:{s:{s:{s:s, s:o, s:o, s:b}}}}", "required",
                             json_array_size(required) > 0, "content", "application/json", "schema",
                             "type", "object", "properties", properties, "required", required,
                             "additionalProperties", 0));
}

static json_t *problem_response(const char *meaning, size_t len)
{
    return checked(json_pack("{s:s%, s:{s:{s:{s:s}}}}", "description", meaning, len, "content",
                             "application/problem+json", "schema", "$ref",
                             "#/components/schemas/problem"));
}

/* Lines of "404 There is no such client." */
static void add_errors(json_t *responses, const char *errors)
{
    while (errors != NULL && *errors != '\0') {
        char status[4];
        size_t len = strcspn(errors, "\n");
        CHECK(len > 4);
        memcpy(status, errors, 3);
        status[3] = '\0';
        set(responses, status, problem_response(errors + 4, len - 4));
        errors += len + (errors[len] == '\n');
    }
}

static json_t *operation(const struct resource *resource)
{
    json_t *responses = json_object();
    json_t *body = request_body(resource);
    json_t *made = checked(
        json_pack("{s:s, s:s}", "operationId", resource->name, "summary", resource->summary));

    if (resource->description != NULL)
        set(made, "description", json_string(resource->description));
    set(made, "parameters", parameters(resource));
    if (body != NULL)
        set(made, "requestBody", body);
    json_t *schema = resource->answer == NULL ? checked(json_pack("{s:s}", "type", "object"))
                                              : members_schema(resource->answer);
    set(responses, "200",
        checked(json_pack("{s:s, s:{s:{s:o}}}", "description", resource->summary, "content",
                          "application/json", "schema", schema)));
    add_errors(responses, resource->errors);
    set(responses, "default", problem_response("The request was refused.", 24));
    set(made, "responses", responses);
    return made;
}

/* ---- the document ------------------------------------------------------------------------------
 */

static json_t *components(void)
{
    return checked(json_pack("{s:{s:{s:s, s:s, s:{s:{s:s}, s:{s:s}, s:{s:s}}, s:[s,s,s]}}}",
                             "schemas", "problem", "type", "object", "description",
                             "A problem as RFC 9457 describes it.", "properties", "title", "type",
                             "string", "status", "type", "integer", "detail", "type", "string",
                             "required", "title", "status", "detail"));
}

json_t *admin_openapi(const struct resource *table, const char *version)
{
    json_t *paths = json_object();
    json_t *document = checked(json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:{s:s, s:s}}, s:[{s:s}]}", "openapi", "3.1.0",
        "jsonSchemaDialect", DIALECT, "info", "title", "Skein", "version", version, "license",
        "name", "Apache-2.0", "identifier", "Apache-2.0", "servers", "url", "http://localhost"));

    for (const struct resource *r = table; r->path != NULL; r++) {
        char method[16];
        size_t len = strlen(http_method_str(r->method));
        json_t *path = json_object_get(paths, r->path);
        for (size_t i = 0; i <= len; i++)
            method[i] = (char)tolower(http_method_str(r->method)[i]);
        if (path == NULL) {
            path = json_object();
            set(paths, r->path, path);
        }
        set(path, method, operation(r));
    }
    set(document, "paths", paths);
    set(document, "components", components());
    return document;
}
