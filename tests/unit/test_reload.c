/* SPDX-License-Identifier: Apache-2.0
 *
 * What a reload may not change, with the real option table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/config/config.h"
#include "daemon/reload.h"

static struct config *load(const char *const *overrides)
{
    struct config_request request = {.overrides = overrides};
    struct buffer errors;
    buffer_init(&errors, 65536);
    struct config *config = config_load(&request, &errors);
    if (config == NULL)
        print_error("%s", errors.bytes);
    buffer_deinit(&errors);
    assert_non_null(config);
    return config;
}

static void restart_options_keep_their_values(void **state)
{
    static const char *const old[] = {"paths.state_dir=/old/state",
                                      "system.id=old-host",
                                      "gateway.control_mode=0600", NULL};
    static const char *const new[] = {
        "paths.state_dir=/new/state", "system.id=new-host",
        "gateway.control_mode=0666",  "sync.max_workers=5",
        "sync.retry.base=77ms",       NULL};
    struct config *before = load(old);
    struct config *after = load(new);
    struct buffer pending;
    (void)state;
    buffer_init(&pending, 65536);
    unsigned cost = config_diff(before, after, &pending);
    assert_true((cost & COST_RESTART) != 0);
    assert_true((cost & COST_RESPAWN_SYNC) != 0);
    assert_non_null(strstr(pending.bytes, "system.id"));
    assert_non_null(strstr(pending.bytes, "new-host"));
    assert_int_equal(reload_keep_restart(before, after), 0);
    config_free(&before); /* the new one owns what it kept */
    assert_string_equal(after->state_dir, "/old/state");
    assert_string_equal(after->system_id, "old-host");
    assert_int_equal(after->control_mode, 0600);
    assert_string_equal(after->sync_sqlite_path, "/old/state/centre.db");
    assert_int_equal(after->sync_max_workers, 5);
    assert_int_equal(after->sync_retry_base_ms, 77);
    buffer_deinit(&pending);
    config_free(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restart_options_keep_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
