# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts: packages and builds.  Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

build_packages="autoconf automake make gcc libc6-dev pkg-config libevent-dev libcurl4-openssl-dev
libpq-dev libsqlite3-dev libyaml-dev libjansson-dev libmd-dev zlib1g-dev python3"
test_packages="libcmocka-dev clang libclang-rt-14-dev valgrind postgresql
pgbouncer python3-pytest python3-pytest-xdist python3-psycopg2 python3-yaml mandoc prometheus
sqlite3 util-linux procps strace logrotate git patch systemd
python3-pystache nodejs node-mustache"
bench_packages="rsyslog rsyslog-pgsql sqlite3 redis-server redis-tools memcached nginx-light nodejs npm
gearman-job-server libgearman-dev
python3-jinja2 libhiredis-dev postgresql python3-psycopg2 gcc"

say() {
    printf '%s\n' "$*" >&2
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Installs what is missing; quick when nothing is.
need_packages() {
    local missing="" package
    for package in "$@"; do
        # Node may be there without Debian's package, with its npm.
        case $package in
        nodejs) command -v node >/dev/null && continue ;;
        npm) command -v npm >/dev/null && continue ;;
        esac
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" \
            = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "Installing:$missing"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends $missing >/dev/null
}

# build FOLDER [configure arguments]: configures when needed, makes all.
build() {
    local folder=$1
    shift
    mkdir -p "$folder"
    if [ ! -x "$root/configure" ] ||
        [ "$root/configure.ac" -nt "$root/configure" ]; then
        (cd "$root" && autoreconf -fi >"$folder/autoreconf.log" 2>&1) || {
            cat "$folder/autoreconf.log" >&2
            return 1
        }
    fi
    if [ ! -f "$folder/Makefile" ]; then
        (cd "$folder" && "$root/configure" -q "$@") || return 1
    fi
    make -C "$folder" -s -j"$(nproc)" >"$folder/make.log" 2>&1 || {
        cat "$folder/make.log" >&2
        return 1
    }
}
