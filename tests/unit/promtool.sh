#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The text form of the metrics has no finding; skipped (77) without promtool.
command -v promtool >/dev/null || exit 77
text=$("${TIDEMILL_BUILD:-.}/tests/unit/test_shm" --text && echo .) || exit 1
printf %s "${text%.}" | promtool check metrics
