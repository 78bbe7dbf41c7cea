#!/bin/sh
# Installs and starts, on Debian, the servers that the tests talk to, the browser that they drive, and
# wrk, by which benchmarks send requests.
# What is there already is left alone.
set -eu

answers() { # host port
    python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)' "$1" "$2" 2>/dev/null
}

wait_for() { # name port
    tries=0
    until answers 127.0.0.1 "$2"; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || { echo "$1 does not answer on port $2" >&2; exit 1; }
        sleep 1
    done
    echo "$1 answers on port $2"
}

need() { # package binary
    command -v "$2" >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] || { echo "$1 is missing: run 'make services' as root" >&2; exit 1; }
    [ -n "${updated:-}" ] || { apt-get update -q; updated=1; }
    DEBIAN_FRONTEND=noninteractive apt-get install -qy "$1"
}

if ! answers 127.0.0.1 5432; then
    need postgresql pg_ctlcluster
    version=$(ls /etc/postgresql | sort -n | tail -n 1)
    # Tests connect as postgres without a password, from this machine only.
    sed -i -E 's/^(host +all +all +(127\.0\.0\.1\/32|::1\/128) +).*/\1trust/' "/etc/postgresql/$version/main/pg_hba.conf"
    pg_ctlcluster --skip-systemctl-redirect "$version" main start || pg_ctlcluster "$version" main reload
fi
wait_for PostgreSQL 5432

if ! answers 127.0.0.1 3306; then
    need mariadb-server mariadbd
    install -d -o mysql -g mysql /run/mysqld
    start-stop-daemon --start --oknodo --background --exec /usr/sbin/mariadbd
    wait_for MariaDB 3306
    mariadb -e "ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING PASSWORD(''); CREATE DATABASE IF NOT EXISTS test"
fi
wait_for MariaDB 3306

if ! answers 127.0.0.1 6379; then
    need redis-server redis-server
    redis-server --daemonize yes --bind 127.0.0.1 --port 6379 --save "" --appendonly no
fi
wait_for Redis 6379

if ! answers 127.0.0.1 5672; then
    need rabbitmq-server rabbitmq-server
    rabbitmq-server -detached
fi
wait_for RabbitMQ 5672

if command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1; then
    echo "a browser is there"
else
    need chromium chromium
    echo "Chromium is there"
fi

need wrk wrk
